"""Attention on a CPU for rows with our own mask: a slice of tokens at a time, over what the slice can see.

torch's own attention for CPUs also computes what the mask hides. For a model in 16 bits and short rows, it takes twice
as long as plain matrix products.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

IN_SLICES = "rankrag_in_slices"

SLICE_TOKENS = 64
"""Tokens of each row in a slice: fewer tokens waste less on hidden ones, more tokens multiply faster."""

_OWN = ("position_bias", "softcap", "sinks", "s_aux")
"""Options with which some models change the scores themselves."""


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

    Slices need an additive mask, [rows, 1, length, past + length], in which no token sees a later one. With any other
    mask, and for models that change the scores themselves, `sdpa` computes it.
    """
    own = any(options.get(name) is not None for name in _OWN) or options.get("is_causal") is False
    if attention_mask is None or not attention_mask.is_floating_point() or own:
        attended, _ = sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **options)
        return attended, None
    rows, heads, length, width = query.shape
    shared, past = key.shape[1], key.shape[2] - length
    scale = width**-0.5 if scaling is None else scaling
    keys = key.transpose(2, 3)
    found = query.new_empty(rows, length, heads, value.shape[-1])
    for start in range(0, length, SLICE_TOKENS):
        end = min(start + SLICE_TOKENS, length)
        # grouped heads share their keys, so their queries go into one longer matrix product; keys are not repeated
        asked = query[:, :, start:end].reshape(rows, shared, -1, width)
        # no token sees a later one, so keys behind the slice are left out
        scores = (asked @ keys[..., : past + end]).view(rows, heads, end - start, past + end)
        shares = torch.add(attention_mask[:, :, start:end, : past + end], scores, alpha=scale).softmax(dim=-1)
        attended = shares.view(rows, shared, -1, past + end) @ value[:, :, : past + end]
        found[:, start:end] = attended.view(rows, heads, end - start, -1).transpose(1, 2)
    return found, None


def slice_attention(model: Any) -> None:
    """Let a model attend in slices, if it uses torch's function now and its architecture lets us replace it."""
    # models whose last layers share keys check for the name `sdpa`, and read less than they were given without it
    shares_keys = getattr(model.config.get_text_config(), "num_kv_shared_layers", None)
    if model.config._attn_implementation == "sdpa" and model._supports_attention_backend and not shares_keys:
        model.set_attn_implementation(IN_SLICES)


AttentionInterface.register(IN_SLICES, in_slices)
AttentionMaskInterface.register(IN_SLICES, sdpa_mask)
