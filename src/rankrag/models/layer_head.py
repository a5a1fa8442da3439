"""Ranking from a middle layer: the model's first layers, with the head for a vocabulary of two.

Relevance is decided long before the last layer (RankRAG reads it off the last one, section 4.3). A shortened model is
an ordinary causal language model that shares its weights with the whole one, so every path that scores the whole model
scores the shortened one too; its two logits are the head's log-odds and 0.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import nn

from rankrag.contract import LayerHead
from rankrag.errors import ContractError, ModelError
from rankrag.models.label_logits import rescales

_FINAL_NORMS = ("norm", "ln_f", "final_layernorm", "final_layer_norm", "norm_f")


def layers_of(model: nn.Module) -> nn.ModuleList:
    """Return the decoder layers: the longest list of modules in the model."""
    return max((m for m in model.modules() if isinstance(m, nn.ModuleList)), key=len)


def final_norm(causal: Any) -> nn.Module:
    """Return the norm before the head; `AttributeError` where the model has none of a known name."""
    name = next((name for name in _FINAL_NORMS if hasattr(causal.base_model, name)), _FINAL_NORMS[0])
    return cast(nn.Module, getattr(causal.base_model, name))


def unit(states: torch.Tensor) -> torch.Tensor:
    """Return states [..., hidden size] in float32, each divided by its root mean square."""
    states = states.float()
    return states * torch.rsqrt(states.square().mean(dim=-1, keepdim=True) + 1e-12)


class Unit(nn.Module):
    """`unit` in the place of a model's final norm."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Return unit states."""
        return unit(states)


def shortened(causal: Any, head: LayerHead) -> Any:
    """Return a model of the first `head.layer` layers, which shares its weights with the whole one.

    `ContractError` where the head is another model's, `ModelError` where the architecture cannot be cut.
    """
    check_head(causal, head)
    if rescaled := rescales(causal):
        raise ModelError(f"{causal.config.model_type}: its {rescaled[0]} changes logits, so no layer head can rank")
    norm = _final_norm_of(causal)
    two = nn.Linear(len(head.weight), 2, device=causal.device)
    with torch.no_grad():
        two.weight.copy_(torch.tensor([head.weight, [0.0] * len(head.weight)]))
        two.bias.copy_(torch.tensor([head.bias, 0.0]))
    layers = layers_of(causal)
    instead: dict[nn.Module, nn.Module] = {
        layers: nn.ModuleList(list(layers)[: head.layer]),
        norm: Unit(),
        causal.get_output_embeddings(): two,
    }
    return _with_replaced(causal, instead)


def check_head(causal: Any, head: LayerHead) -> None:
    """Raise `ContractError` unless the head's layer and size are the model's."""
    depth, width = len(layers_of(causal)), int(causal.config.get_text_config().hidden_size)
    if head.layer > depth or len(head.weight) != width:
        raise ContractError(
            f"the contract's head is of layer {head.layer} with {len(head.weight)} weights, the model has {depth} "
            f"layers and states of {width}; the head is another model's: fit it again (`rankrag fit --head`)"
        )


@contextmanager
def watched(causal: Any, layers: Sequence[int]) -> Iterator[dict[int, torch.Tensor]]:
    """Keep what comes out of these layers (counted from 1) of the latest forward pass: [rows, length, hidden size]."""
    seen: dict[int, torch.Tensor] = {}
    all_layers = layers_of(causal)

    def keep(layer: int) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            seen[layer] = output[0] if isinstance(output, tuple) else output

        return hook

    handles = [all_layers[layer - 1].register_forward_hook(keep(layer)) for layer in layers]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _final_norm_of(causal: Any) -> nn.Module:
    try:
        return final_norm(causal)
    except AttributeError:
        kind = causal.config.model_type
        raise ModelError(f"{kind}: its final norm is not known, so no layer head can rank; use P(True)") from None


def _with_replaced(module: nn.Module, instead: dict[nn.Module, nn.Module]) -> nn.Module:
    """Return the module with some inner ones replaced; those on the way are copied shallowly, all others shared."""
    if module in instead:
        return instead[module]
    children = {name: _with_replaced(child, instead) for name, child in module._modules.items() if child is not None}
    if all(child is module._modules[name] for name, child in children.items()):
        return module
    copied = copy.copy(module)
    copied._modules = {**module._modules, **children}
    return copied
