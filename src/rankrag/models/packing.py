"""Prefix and tails: prompts that begin alike are one sequence, with their common beginning in it only once.

    root  | prefix              | tail of prompt 1 | tail of prompt 2 | …
    (all) | (prompts of a row)  | 1st question     | 2nd question     |

A tail sees the root, its row's prefix and itself, never another tail, and its positions go on from the prefix. So each
prompt gets the scores it would get alone, for a fraction of the tokens. Segments are tokenised one by one
(`encoding`), so that prompts with equal segments have equal tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import torch

from rankrag.encoding import EncodedPrompt
from rankrag.models.states import NOTHING, State

ROW_TOKENS = 512
"""Longest row with several tails: beyond it, attention over unrelated tails costs more than a shared prefix saves."""


JOINS_FROM = 0.9
"""Length of a row, relative to the longest of its batch, from which padding costs less than a batch more."""


@dataclass(slots=True)
class SharedRow:
    """A shared prefix and the tails behind it; `places` says which prompt each tail belongs to.

    `past` is the state before the prefix; `reusable` says that other questions will share the prefix.
    """

    prefix: tuple[int, ...]
    tails: list[tuple[int, ...]] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    past: State = NOTHING
    reusable: bool = False

    def __len__(self) -> int:
        return len(self.prefix) + sum(map(len, self.tails))


@dataclass(frozen=True, slots=True)
class Layout:
    """Rows as tensors behind their pasts, the longest of which has R tokens.

    `input_ids`, `positions` and `is_text` (false for padding) are [rows, length], `visible` is [rows, 1, length,
    R + length]. `ends` holds for each prompt: its place among the prompts, its row, and the column of its last token in
    the row.
    """

    input_ids: torch.Tensor
    positions: torch.Tensor
    is_text: torch.Tensor
    visible: torch.Tensor
    ends: tuple[tuple[int, int, int], ...]


def share(prompts: Sequence[EncodedPrompt]) -> tuple[tuple[int, ...], list[SharedRow]]:
    """Return the root that all prompts share, and rows of the prompts that share more than that.

    Only whole segments are shared. A row's prefix ends after the passage if the prompts have a head (`EncodedPrompt`),
    otherwise after the first segment behind the root. Every prompt keeps a prefix and a tail, even if all are equal.
    """
    depth = 0
    # one prompt alone shares nothing, but with a head its root and prefix can be kept for the next question
    if len(prompts) > 1 or (prompts and prompts[0].head):
        first = prompts[0].segments
        # one segment at least stays behind the root as a prefix, and one behind that as a tail
        deepest = min((p.head or len(p.segments) - 1) - 1 for p in prompts)
        while depth < deepest and all(p.segments[depth] == first[depth] for p in prompts):
            depth += 1
    open_rows: dict[tuple[int, ...], SharedRow] = {}
    rows: list[SharedRow] = []
    for place, prompt in enumerate(prompts):
        end = prompt.head or depth + 1
        prefix, tail = _joined(prompt.segments[depth:end]), _joined(prompt.segments[end:])
        row = open_rows.get(prefix)
        # a row that is full is closed, and a new one repeats the prefix: still less than attention over all its tails
        if row is None or len(row) + len(tail) > ROW_TOKENS:
            row = open_rows[prefix] = SharedRow(prefix, reusable=prompt.head > 0)
            rows.append(row)
        row.tails.append(tail)
        row.places.append(place)
    return _joined(prompts[0].segments[:depth]) if prompts else (), rows


def unshared(prompts: Sequence[EncodedPrompt]) -> list[SharedRow]:
    """Return each prompt as a row of its own that shares nothing."""
    return [SharedRow((), [tuple(prompt.ids)], [place]) for place, prompt in enumerate(prompts)]


def batches(
    rows: Sequence[SharedRow], tokens: Callable[[], int], size: Callable[[SharedRow], int] = len
) -> Iterator[list[SharedRow]]:
    """Yield rows, longest first, in batches of at most `tokens()` padded tokens (one row may exceed them).

    Once a quarter of these tokens are there, only rows join that need little padding (`JOINS_FROM`). Rows of equal
    `size` are ordered by the length of their prefix: if that is a kept state, padding follows it too.
    """
    order = sorted(rows, key=lambda row: (size(row), len(row.prefix)), reverse=True)
    while order:
        # asked again for each batch: running out of memory lowers it
        most, longest = tokens(), max(1, size(order[0]))
        full, enough = max(1, most // longest), max(1, most // 4 // longest)
        count = enough + sum(size(row) >= JOINS_FROM * longest for row in order[enough:full])
        yield order[:count]
        order = order[count:]


def alone(row: SharedRow) -> list[SharedRow]:
    """Return each tail of a row as a row of its own."""
    pairs = zip(row.tails, row.places, strict=True)
    return [SharedRow(row.prefix, [tail], [place], row.past, row.reusable) for tail, place in pairs]


def tail_tokens(row: SharedRow) -> int:
    """Return the tokens that are left to read when the row's prefix is a kept state."""
    return sum(map(len, row.tails))


def lay_out(rows: Sequence[SharedRow], pad_id: int, device: torch.device | str = "cpu") -> Layout:
    """Return rows as tensors on a device; rows and the pasts before them are padded on the right."""
    length = max(map(len, rows))
    input_ids = torch.full((len(rows), length), pad_id)
    positions = torch.zeros(len(rows), length, dtype=torch.long)
    tail = torch.full((len(rows), length), -1)  # 0 is the prefix, from 1 on a tail, -1 padding
    ends = []
    for number, row in enumerate(rows):
        width, root = len(row), len(row.past)
        input_ids[number, :width] = torch.tensor([*row.prefix, *(i for ids in row.tails for i in ids)])
        start = len(row.prefix)
        positions[number, :start] = torch.arange(root, root + start)
        tail[number, :start] = 0
        # marks from 1 on tell tails apart in `visible`, which compares them
        for mark, (ids, place) in enumerate(zip(row.tails, row.places, strict=True), start=1):
            end = start + len(ids)
            # every tail begins where the prefix ends, as if it were the only one
            positions[number, start:end] = torch.arange(len(ids)) + root + len(row.prefix)
            tail[number, start:end] = mark
            ends.append((place, number, end - 1))
            start = end
    # a column before the row is visible if this row's past reaches it; behind a shorter past there is padding
    pasts = torch.tensor([len(row.past) for row in rows], device=device)
    furthest = torch.arange(max(len(row.past) for row in rows), device=device)
    behind = (furthest < pasts[:, None])[:, None].expand(-1, length, -1)
    seen = torch.cat([behind, visible(tail.to(device))], dim=-1)[:, None]
    return Layout(input_ids.to(device), positions.to(device), (tail >= 0).to(device), seen, tuple(ends))


def visible(tail: torch.Tensor) -> torch.Tensor:
    """Return which token sees which, [rows, length, length]: the prefix (tail 0) and its own tail, but never ahead."""
    length = tail.shape[1]
    shared = (tail[:, None, :] == 0) | (tail[:, :, None] == tail[:, None, :])
    return shared & torch.ones(length, length, dtype=torch.bool, device=tail.device).tril()


def _joined(segments: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(i for segment in segments for i in segment)
