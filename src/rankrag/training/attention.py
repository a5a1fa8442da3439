"""Attention of packed rows that skips what the mask hides: other rows, and the other tails of a row.

Over whole sequences, attention would take half of a training step. On a CPU it is computed in pieces (`in_pieces`). On
a GPU with compiled layers, torch's FlexAttention leaves out hidden blocks of 128 x 128 tokens (`in_blocks`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.nn.functional import dropout as drop
from torch.utils.weak import WeakTensorKeyDictionary
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from rankrag.training.batches import Batch, attention_mask

IN_PIECES, IN_BLOCKS = "rankrag_in_pieces", "rankrag_in_blocks"

PIECE_TOKENS = 256
"""Longest piece, unless a tail is longer."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens `start` to `end`, counted over all sequences end to end, and the earlier pieces that they can see.

    `mask` [tokens, tokens of `earlier` + tokens] is added to their scores.
    """

    start: int
    end: int
    earlier: tuple[int, ...]
    mask: torch.Tensor


_pieces: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
"""Pieces by mask: all layers get the same mask tensor, so it is cut only once a step."""


def implementation(*, compiled: bool) -> str:
    """Return the attention of a training run on this machine, by its name in transformers."""
    if torch.cuda.is_available():
        # without compilation, FlexAttention holds the scores of all tokens against all, so `sdpa` is better
        return IN_BLOCKS if compiled else "sdpa"
    return IN_PIECES


def mask_for(name: str, batch: Batch, dtype: torch.dtype) -> torch.Tensor | BlockMask:
    """Return the mask of a batch as the attention of that name takes it."""
    return block_mask(batch) if name == IN_BLOCKS else attention_mask(batch, dtype)


def block_mask(batch: Batch) -> BlockMask:
    """Return the mask of `batches.attention_mask` for FlexAttention."""
    member, tail = batch.member, batch.tail

    def sees(sequence: torch.Tensor, _head: torch.Tensor, token: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        same_row = member[sequence, token] == member[sequence, other]
        shared = (tail[sequence, other] == 0) | (tail[sequence, other] == tail[sequence, token])
        return (token >= other) & same_row & shared

    sequences, length = member.shape
    return create_block_mask(sees, sequences, None, length, length, device=str(member.device))


def in_blocks(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | BlockMask | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as transformers' `sdpa` does, without dropout; return [sequences, length, heads, size of a head]."""
    if not isinstance(attention_mask, BlockMask):
        attended, _ = sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **options)
        return attended, None
    query, key = query.to(value.dtype), key.to(value.dtype)  # autocast leaves the positions' rotation in float32
    grouped, cap = query.shape[1] != key.shape[1], options.get("softcap")

    def capped(score: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return score if cap is None else cap * torch.tanh(score / cap)

    found = flex_attention(
        query, key, value, capped if cap else None, block_mask=attention_mask, scale=scaling, enable_gqa=grouped
    )
    return found.transpose(1, 2).contiguous(), None


def pieces_of(mask: torch.Tensor) -> Sequence[Piece]:
    """Cut sequences into pieces by their additive mask [sequences, 1, length, length] (`batches.attention_mask`)."""
    if mask not in _pieces:
        found: list[Piece] = []
        for seen in mask[:, 0]:
            _cut(seen, found)
        _pieces[mask] = found
    return cast(Sequence[Piece], _pieces[mask])


# a compiled layer calls it as it is: its pieces differ from step to step, and each would be compiled anew
@torch.compiler.disable  # type: ignore[untyped-decorator]
def in_pieces(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as transformers' `sdpa` does; return [sequences, length, heads, size of a head].

    Pieces need the mask of packed rows. With any other mask, or if the model adds a bias, `sdpa` computes it.
    """
    added, cap = options.get("position_bias") is not None, options.get("softcap")
    if attention_mask is None or not attention_mask.is_floating_point() or added:
        attended, _ = sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **options)
        return attended, None
    pieces = pieces_of(attention_mask)
    # heads first and sequences end to end, so that a piece is one slice: [heads, tokens, size of a head]
    groups = query.shape[1] // key.shape[1]
    query = query * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    parts = [query, repeat_kv(key, groups), repeat_kv(value, groups)]
    sizes = [piece.end - piece.start for piece in pieces]
    queries, keys, values = (part.transpose(0, 1).flatten(1, 2).split(sizes, dim=1) for part in parts)
    found = []
    for place, piece in enumerate(pieces):
        known = (*piece.earlier, place)  # the prefix and itself, in the order of the columns of its mask
        scores = queries[place] @ torch.cat([keys[i] for i in known], dim=1).transpose(1, 2)
        scores = (scores if cap is None else cap * torch.tanh(scores / cap)) + piece.mask
        shares = drop(scores.softmax(dim=-1), dropout, module.training)
        found.append(shares @ torch.cat([values[i] for i in known], dim=1))
    return torch.cat(found, dim=1).view(-1, query.shape[0], *query.shape[2:]).permute(1, 2, 0, 3).contiguous(), None


def _cut(seen: torch.Tensor, pieces: list[Piece]) -> None:
    """Append the pieces of one sequence, whose additive mask is `seen` [length, length].

    A row becomes its prefix, in pieces that see all prefix pieces before them, then its tails, several short ones
    together, which see the prefix pieces and themselves.
    """
    length = len(seen)
    # rows and tails are read off the mask: a row starts at a token that sees nothing before itself (`argmax` gives the
    # first of its zeros), a tail at one that does not see its predecessor
    starts = [i for i, first in enumerate(seen.argmax(dim=-1).tolist()) if first == i]
    tails = (seen.diagonal(-1) < 0).nonzero().flatten().add(1).tolist()
    before = pieces[-1].end if pieces else 0
    for start, end in pairwise([*starts, length]):
        later = [i for i in tails if start < i < end]
        stop = end  # where the prefix ends; a short row, or one with a single tail, is one prefix
        if later and end - start > PIECE_TOKENS:
            # the last token sees the prefix without a gap, so the prefix ends before the first token hidden from it
            stop = start + int((seen[end - 1, start:end] < 0).int().argmax())
        prefix: list[int] = []
        for a, b in pairwise([*range(start, stop, PIECE_TOKENS), stop]):
            pieces.append(Piece(before + a, before + b, tuple(prefix), seen[a:b, start:b].contiguous()))
            prefix.append(len(pieces) - 1)
        for a, b in _joined([stop, *(i for i in later if i > stop), end]):
            mask = torch.cat([seen[a:b, start:stop], seen[a:b, a:b]], dim=-1)
            pieces.append(Piece(before + a, before + b, tuple(prefix), mask))


def _joined(borders: list[int]) -> Iterator[tuple[int, int]]:
    """Yield ranges of neighbouring tails, as many together as fit into a piece."""
    start = borders[0]
    for border, following in pairwise([*borders, sys.maxsize]):
        if border > start and following - start > PIECE_TOKENS:
            yield start, border
            start = border


# for callers with another mask: an attention that has no function for its mask is taken to need none
for _name, _function in ((IN_PIECES, in_pieces), (IN_BLOCKS, in_blocks)):
    AttentionInterface.register(_name, _function)
    AttentionMaskInterface.register(_name, sdpa_mask)
