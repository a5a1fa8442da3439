"""Shared-prefix rows: examples of one passage as one sequence, the passage once and every question a tail.

A tail sees the prefix and itself; its positions go on from the prefix's end. So each example gets the logits it
would get alone, at a fraction of the tokens. Rows are packed side by side under the same rule, so nothing leaks.
Targets are never cut: where an example is too long, its passages are (`encoding`).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from rankrag.encoding import PromptEncoder
from rankrag.templates import Layout, render
from rankrag.types import DataKind, Example, Prompt

IGNORE = -100


@dataclass(frozen=True, slots=True)
class Tail:
    """One example's own tokens: the rest of its prompt, then its target, with the weight of a target token."""

    ids: tuple[int, ...]
    target: tuple[int, ...]
    weight: float
    kind: DataKind

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
class Batch:
    """Packed rows as tensors [sequences, length].

    `member` is the row's number in its sequence (-1: padding), `tail` the tail's number in its row (0: prefix);
    `labels` holds the target token itself at its own place, `IGNORE` elsewhere; `kinds` the data kind's number there.
    """

    input_ids: torch.Tensor
    positions: torch.Tensor
    member: torch.Tensor
    tail: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    kinds: torch.Tensor


KINDS = tuple(DataKind)


def build_rows(
    encoder: PromptEncoder, examples: Iterable[Example], *, max_tokens: int, label_weight: float, answer_weight: float
) -> list[Row]:
    """Return one row for each prefix, in order of first appearance; a row is split where it passes `max_tokens`."""
    open_rows: dict[tuple[int, ...], Row] = {}
    rows: list[Row] = []
    for example in examples:
        prefix, tail = _encode(encoder, example, max_tokens, label_weight, answer_weight)
        row = open_rows.get(prefix)
        if row is None or len(row) + len(tail) > max_tokens:
            row = open_rows[prefix] = Row(prefix)
            rows.append(row)
        row.tails.append(tail)
    return rows


def shared_segments(prompt: Prompt, layout: Layout) -> int:
    """Return how many leading segments do not depend on what changes last: the question, or the passages."""
    passages = [i for i, segment in enumerate(prompt) if segment.kind == "passage"]
    if not passages:
        return 0
    return passages[-1] + 1 if layout == "passage_first" else passages[0]


def pack(rows: Sequence[Row], *, tokens: int, rng: random.Random, window: int = 512) -> list[list[list[Row]]]:
    """Return batches of sequences of rows: `tokens` each, as 1, 2 or 3 sequences of equal length.

    Rows are shuffled, then packed first-fit in windows, so the order stays random and few shapes occur.
    """
    order = list(rows)
    rng.shuffle(order)
    sequences: dict[int, list[list[Row]]] = {1: [], 2: [], 3: []}
    for start in range(0, len(order), window):
        bins: list[tuple[int, list[Row]]] = []
        for row in sorted(order[start : start + window], key=len, reverse=True):
            room = next((b for b in bins if sum(map(len, b[1])) + len(row) <= tokens // b[0]), None)
            if room is None:
                room = (next(n for n in (3, 2, 1) if len(row) <= tokens // n), [])
                bins.append(room)
            room[1].append(row)
        rng.shuffle(bins)
        for parts, members in bins:
            sequences[parts].append(members)
    batches = [found[i : i + n] for n, found in sequences.items() for i in range(0, len(found), n)]
    rng.shuffle(batches)
    return batches


def to_batch(sequences: Sequence[Sequence[Row]], length: int, pad_id: int) -> Batch:
    """Return packed rows as tensors of `length` tokens a sequence, padded on the right."""
    columns: dict[str, list[list[float]]] = {name: [] for name in Batch.__slots__}
    for rows in sequences:
        laid = [token for number, row in enumerate(rows) for token in _lay_out(row, number)]
        laid += [(pad_id, 0, -1, 0, IGNORE, 0.0, 0)] * (length - len(laid))
        for name, values in zip(Batch.__slots__, zip(*laid, strict=True), strict=True):
            columns[name].append(list(values))
    kinds = {"weights": torch.float32}
    return Batch(**{name: torch.tensor(rows, dtype=kinds.get(name, torch.long)) for name, rows in columns.items()})


def attention_mask(batch: Batch, dtype: torch.dtype) -> torch.Tensor:
    """Return the additive mask [sequences, 1, length, length]: a token sees its row's prefix and its own tail."""
    length = batch.member.shape[1]
    same_row = batch.member[:, :, None] == batch.member[:, None, :]
    visible = (batch.tail[:, None, :] == 0) | (batch.tail[:, :, None] == batch.tail[:, None, :])
    causal = torch.ones(length, length, dtype=torch.bool, device=batch.member.device).tril()
    mask = torch.zeros(same_row.shape, dtype=dtype, device=batch.member.device)
    return mask.masked_fill_(~(same_row & visible & causal), torch.finfo(dtype).min)[:, None]


def _encode(
    encoder: PromptEncoder, example: Example, max_tokens: int, label_weight: float, answer_weight: float
) -> tuple[tuple[int, ...], Tail]:
    prompt, target = render(encoder.contract.format, example)
    ids = tuple(encoder.encode_target(target))
    reserve = encoder.contract.max_tokens - max_tokens + len(ids)
    (encoded,) = encoder.encode([prompt], reserve=reserve)
    border = shared_segments(prompt, encoder.contract.format.layout)
    prefix = tuple(i for segment in encoded.segments[:border] for i in segment)
    rest = tuple(i for segment in encoded.segments[border:] for i in segment)
    weight = label_weight if example.kind is DataKind.CONTEXT_RANKING else answer_weight
    return prefix, Tail(rest, ids, weight, example.kind)


def _lay_out(row: Row, number: int) -> Iterator[tuple[int, int, int, int, int, float, int]]:
    for position, token in enumerate(row.prefix):
        yield token, position, number, 0, IGNORE, 0.0, 0
    for place, tail in enumerate(row.tails, start=1):
        kind, start = KINDS.index(tail.kind), len(row.prefix)
        for position, token in enumerate(tail.ids, start=start):
            yield token, position, number, place, IGNORE, 0.0, kind
        for position, token in enumerate(tail.target, start=start + len(tail.ids)):
            yield token, position, number, place, token, tail.weight, kind
