"""Weights in eight bits: half the memory of sixteen, for a model that would not fit.

A weight is a whole number from -127 to 127, with one scale for 64 weights of a row, and is converted back when its
layer is computed. Activations stay as they are: in eight bits they would be faster on some hardware, but a score would
depend on the other prompts of its batch, and the order would be lost (docs/performance.md).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

BLOCK = 64
"""Weights of a row that share a scale; a row that is not a multiple of this has one scale."""


class Int8Linear(nn.Module):
    """A linear layer with its weight in eight bits, computed in the number type of its scales."""

    numbers: torch.Tensor
    scales: torch.Tensor

    def __init__(self, linear: nn.Linear) -> None:
        """Convert the weight of a layer; the bias stays as it is."""
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
        """The whole weight, [out, in], converted back each time."""
        return (self.numbers.to(self.scales.dtype) * self.scales).flatten(1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the layer's outputs [..., out] for inputs [..., in]."""
        return nn.functional.linear(inputs, self.weight, self.bias)


def places_for_int8(model: Any) -> list[tuple[nn.Module, str]]:
    """Return parent and name of each linear layer of a model, except the one over the vocabulary.

    Subclasses are left out, because they use their weight in other ways (GPT-2's layers, a mixture's router).
    """
    head = model.get_output_embeddings()
    return [
        (parent, name)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is nn.Linear and child is not head
    ]


def put_in_int8(model: Any) -> int:
    """Convert the weights of all linear layers except the one over the vocabulary; return how many there are.

    Only one layer at a time exists twice.
    """
    places = places_for_int8(model)
    for parent, name in places:
        setattr(parent, name, Int8Linear(getattr(parent, name)))
    return len(places)
