"""Prefix and tails: prompts that begin alike as one sequence, what they share once and the rest of each as a tail.

A tail sees what is before it in its own prompt and itself, and its positions go on from there, so each prompt gets the
scores it would get alone, for a fraction of the tokens. Segments are tokenised one by one (`encoding`), so that what is
shared is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch

from rankrag.encoding import EncodedPrompt

ROW_TOKENS = 512
"""A row takes tails up to this length; beyond it, attention over unrelated tails costs more than a prefix saves."""


@dataclass(slots=True)
class Row:
    """A shared prefix and the tails behind it, with the place of each one's prompt."""

    prefix: tuple[int, ...]
    tails: list[tuple[int, ...]] = field(default_factory=list)
    places: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.prefix) + sum(map(len, self.tails))


@dataclass(frozen=True, slots=True)
class Layout:
    """Rows as tensors behind a root of R tokens that all of them share.

    `input_ids` and `positions` are [rows, length], `visible` is [rows, 1, length, R + length]; `ends` holds, for each
    prompt, its place among the prompts, its row, and where its last token stands in the row.
    """

    input_ids: torch.Tensor
    positions: torch.Tensor
    visible: torch.Tensor
    ends: tuple[tuple[int, int, int], ...]


def share(prompts: Sequence[EncodedPrompt]) -> tuple[tuple[int, ...], list[Row]]:
    """Return the root that all prompts share, and rows of those that also share the segment after it.

    Whole segments are shared, never parts of them. A prompt keeps at least two segments of its own: one to be shared in
    a row, one as its tail.
    """
    depth = 0
    if len(prompts) > 1:
        first, shortest = prompts[0].segments, min(len(p.segments) for p in prompts)
        while depth < shortest - 2 and all(p.segments[depth] == first[depth] for p in prompts):
            depth += 1
    open_rows: dict[tuple[int, ...], Row] = {}
    rows: list[Row] = []
    for place, prompt in enumerate(prompts):
        prefix, tail = prompt.segments[depth], _joined(prompt.segments[depth + 1 :])
        row = open_rows.get(prefix)
        if row is None or len(row) + len(tail) > ROW_TOKENS:
            row = open_rows[prefix] = Row(prefix)
            rows.append(row)
        row.tails.append(tail)
        row.places.append(place)
    return _joined(prompts[0].segments[:depth]) if prompts else (), rows


def batches(rows: Sequence[Row], tokens: int) -> Iterator[list[Row]]:
    """Yield rows, longest first, in batches of at most `tokens` padded tokens (one row may exceed them)."""
    order = sorted(rows, key=len, reverse=True)
    while order:
        size = max(1, tokens // max(1, len(order[0])))
        yield order[:size]
        order = order[size:]


def lay_out(rows: Sequence[Row], root: int, pad_id: int) -> Layout:
    """Return rows as tensors, padded on the right, behind a root of `root` tokens."""
    length = max(map(len, rows))
    input_ids = torch.full((len(rows), length), pad_id)
    positions = torch.zeros(len(rows), length, dtype=torch.long)
    tail = torch.full((len(rows), length), -1)  # 0: the prefix, 1 and more: a tail, -1: padding
    ends = []
    for number, row in enumerate(rows):
        width = len(row)
        input_ids[number, :width] = torch.tensor([*row.prefix, *(i for ids in row.tails for i in ids)])
        start = len(row.prefix)
        positions[number, :start] = torch.arange(root, root + start)
        tail[number, :start] = 0
        for mark, (ids, place) in enumerate(zip(row.tails, row.places, strict=True), start=1):
            end = start + len(ids)
            positions[number, start:end] = torch.arange(len(ids)) + root + len(row.prefix)
            tail[number, start:end] = mark
            ends.append((place, number, end - 1))
            start = end
    behind = torch.ones(len(rows), length, root, dtype=torch.bool)
    return Layout(input_ids, positions, torch.cat([behind, visible(tail)], dim=-1)[:, None], tuple(ends))


def visible(tail: torch.Tensor) -> torch.Tensor:
    """Return which token sees which, [rows, length, length]: its row's prefix (tail 0), its own tail, none ahead."""
    length = tail.shape[1]
    shared = (tail[:, None, :] == 0) | (tail[:, :, None] == tail[:, None, :])
    return shared & torch.ones(length, length, dtype=torch.bool, device=tail.device).tril()


def _joined(segments: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(i for segment in segments for i in segment)
