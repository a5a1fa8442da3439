"""Weights in eight bits: half the memory of sixteen, for a model that would not fit; activations stay as they are.

A weight is kept as whole numbers from -127 to 127, with a scale for each 64 of a row, and is made whole again when its
layer is computed. So a score depends on its own prompt alone, as with any other number type: activations in eight bits
would be faster where the hardware multiplies them, and lose the order (docs/performance.md).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

BLOCK = 64
"""Weights that share a scale, along a row; a row that is no multiple of it has one scale."""


class Int8Linear(nn.Module):
    """A linear layer whose weight [out, in] is kept in eight bits and computed in the number type it came in."""

    weight: torch.Tensor
    scale: torch.Tensor

    def __init__(self, linear: nn.Linear) -> None:
        """Take the weight of a layer, which the caller drops, and its bias as it is."""
        super().__init__()
        whole = linear.weight.detach()
        block = BLOCK if whole.shape[1] % BLOCK == 0 else whole.shape[1]
        blocks = whole.float().view(len(whole), -1, block)
        scale = (blocks.abs().amax(dim=-1, keepdim=True) / 127).to(whole.dtype)
        scale[scale == 0] = 1
        self.register_buffer("weight", (blocks / scale.float()).round().clamp(-127, 127).to(torch.int8))
        self.register_buffer("scale", scale)
        self.bias = linear.bias

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the layer's outputs [..., out] for inputs [..., in]."""
        whole = (self.weight.to(self.scale.dtype) * self.scale).flatten(1)
        return nn.functional.linear(inputs, whole, self.bias)


def put_in_int8(model: Any) -> int:
    """Put the weights of all linear layers but the one over the vocabulary in eight bits; return how many those are.

    One layer exists twice at a time. Layers of another kind (GPT-2's, a mixture's experts) stay as they are.
    """
    head = model.get_output_embeddings()
    places = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        if isinstance(child, nn.Linear) and child is not head
    ]
    for parent, name, child in places:
        setattr(parent, name, Int8Linear(child))
    return len(places)
