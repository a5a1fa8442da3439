"""Shared-prefix rows: examples about one passage as one sequence, the passage once and every question a tail.

A tail sees the prefix and itself; its positions go on from the prefix's end. So each example gets the logits it
would get alone, at a fraction of the tokens. Targets are never cut: if an example is too long, its passages are cut
(`encoding`), then its oldest turns are left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count, islice

from rankrag.encoding import EncodedPrompt, PromptEncoder
from rankrag.errors import DataError
from rankrag.templates import Layout, example_prompt
from rankrag.training.step_report import Say
from rankrag.types import DataKind, Example, Prompt

AT_ONCE = 512
"""Examples whose texts are tokenised in one call, which uses all cores."""

SAY_EVERY = 40
"""Such calls between two lines about how far the encoding is."""

_SHOWN = 5

Ids = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tail:
    """One example's own tokens: the rest of its prompt, then its target, with the weight of a target token.

    `group` is the number of the question that this passage is a candidate for; -1 if nothing is ranked.
    """

    ids: Ids
    target: Ids
    weight: float
    kind: DataKind
    group: int = -1

    def __len__(self) -> int:
        return len(self.ids) + len(self.target)


@dataclass(slots=True)
class Row:
    """A prefix and the tails that share it."""

    prefix: Ids
    tails: list[Tail] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.prefix) + sum(map(len, self.tails))


def build_rows(
    encoder: PromptEncoder,
    examples: Iterable[Example],
    *,
    limit: int,
    row_tokens: int,
    label_weight: float = 1.0,
    answer_weight: float = 1.0,
    say: Say = lambda _: None,
) -> list[Row]:
    """Return one row for each prefix, in order of first appearance; a row is split where it passes `row_tokens`.

    An example may have `limit` tokens. Examples without a common prefix (no passage) stay alone. `say` hears how far a
    large blend is. `DataError` lists the examples that do not fit.
    """
    open_rows: dict[Ids, Row] = {}
    rows: list[Row] = []
    groups: dict[tuple[str, str], int] = {}
    problems: list[str] = []
    for example in _read_ahead(encoder, examples, say):
        name = (example.source, example.question.id)
        try:
            prefix, ids, target = _encode(encoder, example, limit)
        except DataError as error:
            problems.append(f"{'/'.join(name)}: {error}")
            continue
        ranking = example.kind is DataKind.CONTEXT_RANKING
        group = groups.setdefault(name, len(groups)) if ranking else -1
        tail = Tail(ids, target, label_weight if ranking else answer_weight, example.kind, group)
        # without a passage there is nothing to share, and many short rows fill sequences better than a long one
        row = open_rows.get(prefix) if prefix else None
        if row is None or len(row) + len(tail) > row_tokens:
            row = open_rows[prefix] = Row(prefix)
            rows.append(row)
        row.tails.append(tail)
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise DataError(f"{len(problems)} examples do not fit: {'; '.join(problems[:_SHOWN])}{more}")
    return rows


def shared_segments(prompt: Prompt, layout: Layout) -> int:
    """Return how many leading segments do not depend on what changes last: the question, or the passages."""
    passages = [i for i, segment in enumerate(prompt) if segment.kind == "passage"]
    if not passages:
        return 0
    return passages[-1] + 1 if layout == "passage_first" else passages[0]


def _read_ahead(encoder: PromptEncoder, examples: Iterable[Example], say: Say) -> Iterator[Example]:
    """Yield the examples, their texts tokenised many at a time."""
    rest = iter(examples)
    for call in count(1):
        if not (batch := list(islice(rest, AT_ONCE))):
            return
        prompts = [example_prompt(encoder.contract.format, example)[0] for example in batch]
        with _all_cores():
            encoder.read_ahead([s.text for prompt in prompts for s in prompt if s.kind != "fixed"])
        if call % SAY_EVERY == 0:
            say(f"Encoding the blend: {call * AT_ONCE:,} examples")
        yield from batch


@contextmanager
def _all_cores() -> Iterator[None]:
    """Let the tokenizer use threads: the command line switches them off, because libraries fork; nothing forks here."""
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TOKENIZERS_PARALLELISM"]
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = before


def _encode(encoder: PromptEncoder, example: Example, limit: int) -> tuple[Ids, Ids, Ids]:
    """Return what others may share of an example, the rest of its prompt, and its target; `DataError` if too long."""
    target = tuple(encoder.encode_target(example.target))
    if len(target) >= limit:
        raise DataError(f"the target has {len(target)} tokens, the whole example may have {limit}")
    # a prompt may have the contract's `max_tokens` less what is reserved: here that is `limit` less the target
    prompt, encoded = _fitted(encoder, example, encoder.contract.max_tokens - limit + len(target))
    # each segment is tokenised by itself, so a shared prefix has the same tokens whatever question comes after it
    border = shared_segments(prompt, encoder.contract.format.layout)
    parts = (encoded.segments[:border], encoded.segments[border:])
    prefix, rest = (tuple(i for segment in part for i in segment) for part in parts)
    return prefix, rest, target


def _fitted(encoder: PromptEncoder, example: Example, reserve: int) -> tuple[Prompt, EncodedPrompt]:
    """Encode with as many of the latest turns as there is room for."""
    while True:
        prompt, _ = example_prompt(encoder.contract.format, example)
        try:
            (encoded,) = encoder.encode([prompt], reserve=reserve)
            return prompt, encoded
        except DataError:
            kept = example.question.history[-encoder.contract.format.history_turns :]
            if not kept:
                raise
            example = replace(example, question=replace(example.question, history=kept[1:]))
