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
    """A linear layer whose weight is kept in eight bits, and computed in the number type that its scales are in."""

    numbers: torch.Tensor
    scales: torch.Tensor

    def __init__(self, linear: nn.Linear) -> None:
        """Take the weight of a layer, which the caller drops, and its bias as it is."""
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight = linear.weight.detach()
        block = BLOCK if self.in_features % BLOCK == 0 else self.in_features
        blocks = weight.float().view(self.out_features, -1, block)
        scales = (blocks.abs().amax(dim=-1, keepdim=True) / 127).to(weight.dtype)
        scales[scales == 0] = 1
        self.register_buffer("numbers", (blocks / scales.float()).round().clamp(-127, 127).to(torch.int8))
        self.register_buffer("scales", scales)
        self.bias = linear.bias

    @property
    def weight(self) -> torch.Tensor:
        """The whole weight, [out, in], made anew each time."""
        return (self.numbers.to(self.scales.dtype) * self.scales).flatten(1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the layer's outputs [..., out] for inputs [..., in]."""
        return nn.functional.linear(inputs, self.weight, self.bias)


def places_for_int8(model: Any) -> list[tuple[nn.Module, str]]:
    """Return where a model's linear layers are, as parents and names, but the one over the vocabulary.

    Layers of a class of their own are none: what they make of their weight is theirs (GPT-2's, a mixture's router).
    """
    head = model.get_output_embeddings()
    return [
        (parent, name)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear and child is not head
    ]


def put_in_int8(model: Any) -> int:
    """Put the weights of all linear layers but the one over the vocabulary in eight bits; return how many those are.

    One layer at a time exists twice.
    """
    places = places_for_int8(model)
    for parent, name in places:
        setattr(parent, name, Int8Linear(getattr(parent, name)))
    return len(places)
