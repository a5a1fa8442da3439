"""Shared-prefix rows: examples of one passage as one sequence, the passage once and every question a tail.

A tail sees the prefix and itself; its positions go on from the prefix's end. So each example gets the logits it
would get alone, at a fraction of the tokens. Targets are never cut: where an example is too long, its passages are
(`encoding`), then its oldest turns are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from rankrag.encoding import EncodedPrompt, PromptEncoder
from rankrag.errors import DataError
from rankrag.templates import Layout, render
from rankrag.types import DataKind, Example, Prompt

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Tail:
    """One example's own tokens: the rest of its prompt, then its target, with the weight of a target token.

    `group` numbers the question whose candidate this is; -1 where nothing is ranked.
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


Bundle = Sequence[Row]
"""Rows that must stand in one sequence, because one loss looks at all of them; mostly a single row."""


def build_rows(
    encoder: PromptEncoder,
    examples: Iterable[Example],
    *,
    max_tokens: int,
    row_tokens: int,
    label_weight: float,
    answer_weight: float,
    listwise: bool = False,
) -> list[Bundle]:
    """Return one row for each prefix, in order of first appearance; a row is split where it passes `row_tokens`.

    `listwise` gives each question's candidates rows of their own, bundled. Examples without a common prefix (no
    passage) stay alone. `DataError` lists the examples that do not fit into `max_tokens`, and the questions whose
    candidates do not fit into `row_tokens`.
    """
    open_rows: dict[tuple[tuple[int, ...], int], Row] = {}
    bundles: dict[int, list[Row]] = {}
    groups: dict[tuple[str, str], int] = {}
    problems: list[str] = []
    for example in examples:
        name = (example.source, example.question.id)
        try:
            prefix, tail = _encode(encoder, example, min(max_tokens, row_tokens))
        except DataError as error:
            problems.append(f"{'/'.join(name)}: {error}")
            continue
        ranking = example.kind is DataKind.CONTEXT_RANKING
        group = groups.setdefault(name, len(groups)) if ranking else -1
        tail = replace(tail, weight=label_weight if ranking else answer_weight, group=group)
        key = (prefix, group if listwise else -1)
        row = open_rows.get(key) if prefix else None
        if row is None or len(row) + len(tail) > row_tokens:
            row = open_rows[key] = Row(prefix)
            bundles.setdefault(group if listwise and ranking else -1 - len(bundles), []).append(row)
        row.tails.append(tail)
    if listwise:
        found = ((name, sum(map(len, bundles.get(group, ())))) for name, group in groups.items())
        problems += [
            f"{'/'.join(name)}: its candidates have {size} tokens, which no sequence of {row_tokens} holds"
            for name, size in found
            if size > row_tokens
        ]
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise DataError(f"{len(problems)} examples do not fit: {'; '.join(problems[:_SHOWN])}{more}")
    return list(bundles.values())


def shared_segments(prompt: Prompt, layout: Layout) -> int:
    """Return how many leading segments do not depend on what changes last: the question, or the passages."""
    passages = [i for i, segment in enumerate(prompt) if segment.kind == "passage"]
    if not passages:
        return 0
    return passages[-1] + 1 if layout == "passage_first" else passages[0]


def _encode(encoder: PromptEncoder, example: Example, max_tokens: int) -> tuple[tuple[int, ...], Tail]:
    ids = tuple(encoder.encode_target(example.target))
    if len(ids) >= max_tokens:
        raise DataError(f"the target has {len(ids)} tokens, the whole example may have {max_tokens}")
    prompt, encoded = _fitted(encoder, example, encoder.contract.max_tokens - max_tokens + len(ids))
    border = shared_segments(prompt, encoder.contract.format.layout)
    prefix = tuple(i for segment in encoded.segments[:border] for i in segment)
    rest = tuple(i for segment in encoded.segments[border:] for i in segment)
    return prefix, Tail(rest, ids, 1.0, example.kind)


def _fitted(encoder: PromptEncoder, example: Example, reserve: int) -> tuple[Prompt, EncodedPrompt]:
    """Encode with as many of the latest turns as there is room for."""
    while True:
        prompt, _ = render(encoder.contract.format, example)
        try:
            (encoded,) = encoder.encode([prompt], reserve=reserve)
            return prompt, encoded
        except DataError:
            kept = example.question.history[-encoder.contract.format.history_turns :]
            if not kept:
                raise
            example = replace(example, question=replace(example.question, history=kept[1:]))
