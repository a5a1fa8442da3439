"""Attention on a CPU for prompts that are read with a mask of ours: a few tokens at a time, over what they can see.

torch's own attention for CPUs computes what the mask hides as well, and of a model in sixteen bits takes twice as long
for short rows as plain matrix products.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

IN_SLICES = "rankrag_in_slices"

SLICE_TOKENS = 64
"""Tokens of each row that attend at a time: fewer see less that is hidden, more are quicker to multiply."""


def in_slices(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attend as transformers' `sdpa` does; return [rows, length, heads, width of a value].

    In slices with a mask that is added to the scores, [rows, 1, length, past + length], in which no token sees a later
    one; else, and where the model adds something of its own to the scores, it is `sdpa`.
    """
    if attention_mask is None or not attention_mask.is_floating_point() or options.get("position_bias") is not None:
        attended, _ = sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **options)
        return attended, None
    rows, heads, length, width = query.shape
    shared, past = key.shape[1], key.shape[2] - length
    query = query * (width**-0.5 if scaling is None else scaling)
    keys = key.transpose(2, 3)
    found = query.new_empty(rows, length, heads, value.shape[-1])
    for start in range(0, length, SLICE_TOKENS):
        end = min(start + SLICE_TOKENS, length)
        # the heads that share keys are one longer row of queries
        asked = query[:, :, start:end].reshape(rows, shared, -1, width)
        scores = (asked @ keys[..., : past + end]).view(rows, heads, end - start, past + end)
        shares = scores.add_(attention_mask[:, :, start:end, : past + end]).softmax(dim=-1)
        attended = shares.view(rows, shared, -1, past + end) @ value[:, :, : past + end]
        found[:, start:end] = attended.view(rows, heads, end - start, -1).transpose(1, 2)
    return found, None


def slice_attention(model: Any) -> None:
    """Let a model attend in slices, where it attends by torch's own and takes another."""
    if model.config._attn_implementation == "sdpa" and model._supports_attention_backend:
        model.set_attn_implementation(IN_SLICES)


AttentionInterface.register(IN_SLICES, in_slices)
AttentionMaskInterface.register(IN_SLICES, sdpa_mask)
