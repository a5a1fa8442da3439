"""Attention on a CPU for prompts that are read with a mask of ours: a few tokens at a time, over what they can see.

torch's own attention for CPUs computes what the mask hides as well, and of a model in sixteen bits takes twice as long
for short rows as plain matrix products.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

IN_SLICES = "rankrag_in_slices"

SLICE_TOKENS = 64
"""Tokens of each row that attend at a time: fewer see less that is hidden, more are quicker to multiply."""

_OWN = ("position_bias", "softcap", "sinks", "s_aux")
"""What models hand to their attention to change scores by."""


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
    one; else, and where the model has something of its own to do to the scores, it is `sdpa`.
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
        # the heads that share keys are one longer row of queries
        asked = query[:, :, start:end].reshape(rows, shared, -1, width)
        scores = (asked @ keys[..., : past + end]).view(rows, heads, end - start, past + end)
        shares = torch.add(attention_mask[:, :, start:end, : past + end], scores, alpha=scale).softmax(dim=-1)
        attended = shares.view(rows, shared, -1, past + end) @ value[:, :, : past + end]
        found[:, start:end] = attended.view(rows, heads, end - start, -1).transpose(1, 2)
    return found, None


def slice_attention(model: Any) -> None:
    """Let a model attend in slices, if it attends by torch's function and its architecture lets that be replaced.

    One whose last layers share keys asks for `sdpa` by name, where it reads less than it was given.
    """
    shares_keys = getattr(model.config.get_text_config(), "num_kv_shared_layers", None)
    if model.config._attn_implementation == "sdpa" and model._supports_attention_backend and not shares_keys:
        model.set_attn_implementation(IN_SLICES)


@contextmanager
def whole_attention(model: Any) -> Iterator[None]:
    """Within this context, a model that attends in slices attends by torch's function, as other programs know it."""
    sliced = model.config._attn_implementation == IN_SLICES
    if sliced:
        model.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        if sliced:
            model.set_attn_implementation(IN_SLICES)


AttentionInterface.register(IN_SLICES, in_slices)
AttentionMaskInterface.register(IN_SLICES, sdpa_mask)
