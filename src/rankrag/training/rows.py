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


@dataclass(frozen=True, slots=True)
class Tail:
    """One example's own tokens: the rest of its prompt, then its target, with the weight of a target token.

    `group` is the number of the question that this passage is a candidate for; -1 if nothing is ranked.
    """

    ids: tuple[int, ...]
    target: tuple[int, ...]
    weight: float
    kind: DataKind
    group: int = -1

    def __len__(self) -> int:
        return len(self.ids) + len(self.target)


@dataclass(slots=True)
class Row:
    """A prefix and the tails that share it."""

    prefix: tuple[int, ...]
    tails: list[Tail] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.prefix) + sum(map(len, self.tails))


@dataclass(frozen=True, slots=True)
class EncodedExample:
    """Token ids of an example: what others may share, the rest of its prompt, its target.

    `problem` says why it does not fit; the ids are empty then.
    """

    prefix: tuple[int, ...] = ()
    ids: tuple[int, ...] = ()
    target: tuple[int, ...] = ()
    problem: str = ""


def encode_examples(
    encoder: PromptEncoder, examples: Iterable[Example], limit: int, say: Say = lambda _: None
) -> Iterator[tuple[Example, EncodedExample]]:
    """Yield each example with its token ids, at most `limit` of them; `say` hears how far a large blend is."""
    rest = iter(examples)
    for call in count(1):
        if not (batch := list(islice(rest, AT_ONCE))):
            return
        prompts = [example_prompt(encoder.contract.format, example)[0] for example in batch]
        with _all_cores():
            encoder.read_ahead([s.text for prompt in prompts for s in prompt if s.kind != "fixed"])
        if call % SAY_EVERY == 0:
            say(f"Encoding the blend: {call * AT_ONCE:,} examples")
        for example in batch:
            try:
                yield example, _encode(encoder, example, limit)
            except DataError as error:
                yield example, EncodedExample(problem=str(error))


def build_rows(
    examples: Iterable[tuple[Example, EncodedExample]],
    *,
    row_tokens: int,
    label_weight: float,
    answer_weight: float,
) -> list[Row]:
    """Return one row for each prefix, in order of first appearance; a row is split where it passes `row_tokens`.

    Examples without a common prefix (no passage) stay alone. `DataError` lists the examples that do not fit.
    """
    open_rows: dict[tuple[int, ...], Row] = {}
    rows: list[Row] = []
    groups: dict[tuple[str, str], int] = {}
    problems: list[str] = []
    for example, encoded in examples:
        name = (example.source, example.question.id)
        if encoded.problem:
            problems.append(f"{'/'.join(name)}: {encoded.problem}")
            continue
        ranking = example.kind is DataKind.CONTEXT_RANKING
        group = groups.setdefault(name, len(groups)) if ranking else -1
        weight = label_weight if ranking else answer_weight
        tail = Tail(encoded.ids, encoded.target, weight, example.kind, group)
        row = open_rows.get(encoded.prefix) if encoded.prefix else None
        if row is None or len(row) + len(tail) > row_tokens:
            row = open_rows[encoded.prefix] = Row(encoded.prefix)
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


def _encode(encoder: PromptEncoder, example: Example, limit: int) -> EncodedExample:
    target = tuple(encoder.encode_target(example.target))
    if len(target) >= limit:
        raise DataError(f"the target has {len(target)} tokens, the whole example may have {limit}")
    prompt, encoded = _fitted(encoder, example, encoder.contract.max_tokens - limit + len(target))
    border = shared_segments(prompt, encoder.contract.format.layout)
    prefix, rest = (
        tuple(i for segment in part for i in segment) for part in (encoded.segments[:border], encoded.segments[border:])
    )
    return EncodedExample(prefix, rest, target)


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
