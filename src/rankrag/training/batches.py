"""From rows to steps: rows are packed side by side into sequences, sequences into batches, batches into steps.

A step has a number of examples, as in the paper, or a number of batches of equal size. Its loss is the weighted mean
over the step's target tokens, however the step is cut into batches and however many processes share them.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from rankrag.models.packing import visible
from rankrag.training.rows import Row, Tail
from rankrag.types import DataKind

IGNORE = -100
PARTS = (3, 2, 1)
"""Sequences of a batch: one of full length, two of half, or three of a third. So there are three shapes in all, and
compiled layers are compiled three times."""

TENSORS = ("input_ids", "positions", "member", "tail", "labels", "weights")

Sequences = list[list[Row]]


@dataclass(frozen=True, slots=True)
class Target:
    """One example's share of a batch's target tokens: how many, their data kind, and the question that is ranked."""

    kind: DataKind
    tokens: int
    group: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed rows as tensors [sequences, length].

    `member` is the number of the row in its sequence (-1: padding), `tail` that of the tail in its row (0: prefix).
    `labels` holds a target token at its own place, not shifted, and `IGNORE` elsewhere. `targets` are in the order of
    their tokens.
    """

    input_ids: torch.Tensor
    positions: torch.Tensor
    member: torch.Tensor
    tail: torch.Tensor
    labels: torch.Tensor
    weights: torch.Tensor
    targets: tuple[Target, ...]

    def to(self, device: torch.device) -> Batch:
        """Return the batch on that device."""
        moved = {name: getattr(self, name).to(device) for name in TENSORS}
        return Batch(**moved, targets=self.targets)

    def by_target(self, values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return values of target tokens [targets, ...] example by example."""
        return torch.split_with_sizes(values, [target.tokens for target in self.targets])


@dataclass(frozen=True, slots=True)
class Step:
    """The batches of one step."""

    batches: tuple[Sequences, ...]

    @property
    def weight(self) -> float:
        """Sum of the weights of the step's target tokens."""
        return sum(tail.weight * len(tail.target) for tail in self._tails())

    @property
    def tokens(self) -> int:
        """Number of tokens, padding not counted."""
        return sum(len(row) for batch in self.batches for rows in batch for row in rows)

    @property
    def kinds(self) -> Counter[DataKind]:
        """Number of examples of each kind."""
        return Counter(tail.kind for tail in self._tails())

    def _tails(self) -> Iterator[Tail]:
        return (tail for batch in self.batches for rows in batch for row in rows for tail in row.tails)


def plan(
    rows: Sequence[Row],
    *,
    tokens: int,
    batches_per_step: int,
    examples_per_step: int | None,
    max_steps: int,
    seed: int,
) -> list[Step]:
    """Return the steps of a run, ordered by the seed: `max_steps` of them, or one pass over the rows if that is -1."""
    rng = random.Random(seed)
    steps: list[Step] = []
    while not steps or len(steps) < max_steps:
        # each pass packs anew, so that a row has other neighbours; its last step may be short
        if examples_per_step is None:
            batches = pack(rows, tokens=tokens, rng=rng)
            cut = range(0, len(batches), batches_per_step)
            steps += [Step(tuple(batches[i : i + batches_per_step])) for i in cut]
        else:
            order = rng.sample(rows, len(rows))
            steps += [Step(tuple(_stack(_first_fit(s, tokens)))) for s in by_examples(order, examples_per_step)]
    return steps[:max_steps] if max_steps > 0 else steps


def pack(rows: Sequence[Row], *, tokens: int, rng: random.Random, window: int = 512) -> list[Sequences]:
    """Return batches of `tokens` each, as 1, 2 or 3 sequences of equal length with rows in them."""
    order = list(rows)
    rng.shuffle(order)
    bins = []
    # first-fit needs the longest rows first; in windows of a shuffled order, short and long ones stay mixed
    for start in range(0, len(order), window):
        found = _first_fit(order[start : start + window], tokens)
        rng.shuffle(found)
        bins += found
    batches = _stack(bins)
    rng.shuffle(batches)
    return batches


def by_examples(rows: Iterable[Row], count: int) -> Iterator[list[Row]]:
    """Yield runs of rows with `count` examples each, the last with what is left; a row over a border is divided."""
    waiting: list[Row] = []
    room = count
    for row in rows:
        tails = row.tails
        while tails:
            # what has no room comes in the next step, below its prefix again
            waiting.append(Row(row.prefix, tails[:room]))
            tails, room = tails[room:], room - len(tails[:room])
            if not room:
                yield waiting
                waiting, room = [], count
    if waiting:
        yield waiting


def to_batch(sequences: Sequence[Sequence[Row]], length: int, pad_id: int) -> Batch:
    """Return packed rows as tensors with `length` tokens a sequence, padded on the right."""
    columns: dict[str, list[list[float]]] = {name: [] for name in TENSORS}
    for rows in sequences:
        # a token a line, then a list a column: all tensors of a batch are laid out in one walk over the rows
        laid = [token for number, row in enumerate(rows) for token in _lay_out(row, number)]
        laid += [(pad_id, 0, -1, 0, IGNORE, 0.0)] * (length - len(laid))
        for name, values in zip(TENSORS, zip(*laid, strict=True), strict=True):
            columns[name].append(list(values))
    tensors = {
        name: torch.tensor(rows, dtype=torch.float32 if name == "weights" else torch.long)
        for name, rows in columns.items()
    }
    tails = (tail for rows in sequences for row in rows for tail in row.tails)
    return Batch(**tensors, targets=tuple(Target(tail.kind, len(tail.target), tail.group) for tail in tails))


def padded(sequences: Sequences, tokens: int, pad_id: int) -> Batch:
    """Return a batch as tensors in the smallest of the three shapes that holds it."""
    length = max((sum(map(len, rows)) for rows in sequences), default=0)
    parts = next(n for n in PARTS if length <= tokens // n and n >= len(sequences))
    return to_batch([*sequences, *([[]] * (parts - len(sequences)))], tokens // parts, pad_id)


def attention_mask(batch: Batch, dtype: torch.dtype) -> torch.Tensor:
    """Return the additive mask [sequences, 1, length, length]: a token sees its row's prefix and its own tail."""
    # padding counts as a row too: a token that saw nothing at all would be a softmax of nothing
    same_row = batch.member[:, :, None] == batch.member[:, None, :]
    mask = torch.zeros(same_row.shape, dtype=dtype, device=batch.member.device)
    return mask.masked_fill_(~(same_row & visible(batch.tail)), torch.finfo(dtype).min)[:, None]


def _first_fit(rows: Sequence[Row], tokens: int) -> list[tuple[int, list[Row]]]:
    """Return bins as (sequences in its batch, rows of one sequence); the longest rows are placed first."""
    bins: list[tuple[int, list[Row]]] = []
    free: list[int] = []
    for row in sorted(rows, key=len, reverse=True):
        place = next((i for i, room in enumerate(free) if len(row) <= room), None)
        if place is None:  # it opens a sequence: the shortest of the three lengths that holds it
            place, parts = len(bins), next(n for n in PARTS if len(row) <= tokens // n)
            bins.append((parts, []))
            free.append(tokens // parts)
        bins[place][1].append(row)
        free[place] -= len(row)
    return bins


def _stack(bins: Sequence[tuple[int, list[Row]]]) -> list[Sequences]:
    # two halves make a batch, or three thirds; the last ones of a length may be fewer, and `padded` fills them up
    stacked = {n: [rows for parts, rows in bins if parts == n] for n in sorted(PARTS)}
    return [found[i : i + n] for n, found in stacked.items() for i in range(0, len(found), n)]


def _lay_out(row: Row, number: int) -> Iterator[tuple[int, int, int, int, int, float]]:
    for position, token in enumerate(row.prefix):
        yield token, position, number, 0, IGNORE, 0.0
    for place, tail in enumerate(row.tails, start=1):
        # every tail's positions go on from the prefix, as if it stood behind it alone
        for position, token in enumerate(tail.ids, start=len(row.prefix)):
            yield token, position, number, place, IGNORE, 0.0
        # the logits before a label predict it (`loss`). They are this tail's own, as every prompt ends with tokens that
        # no other shares; without `ids` they would be those of the tail before it
        for position, token in enumerate(tail.target, start=len(row.prefix) + len(tail.ids)):
            yield token, position, number, place, token, tail.weight
