"""Log-probabilities of a few next tokens, exact in the head where the model computes in 16 bits.

A bfloat16 logit of 16 to 32 is a multiple of 1/8, so labels tie and passages change places by rounding alone. The head
is a product with one row of weights for each label: done again in float32, it costs nothing and leaves only the
rounding of the layers before it.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import MoeModelOutputWithPast

_RESCALES = ("logits_scaling", "logit_scale", "final_logit_softcapping", "lm_head_multiplier")
"""Settings of architectures that change logits behind the head."""


def rescales(model: Any) -> list[str]:
    """Return the settings of the model by which its logits are not what its head computes; mostly none."""
    config = model.config.get_text_config()
    return [name for name in _RESCALES if getattr(config, name, None) not in (None, 1, 1.0)]


def vocabulary_logits(model: Any, states: torch.Tensor) -> torch.Tensor:
    """Return the logits [states, vocabulary] that a causal model makes of states [states, size] behind its final norm.

    Where settings change them behind the head, the model's own code does so, with these states for what its layers
    give: Granite divides by what HyperCLOVA X multiplies with.
    """
    if not rescales(model):
        logits: torch.Tensor = model.get_output_embeddings()(states)
        return logits
    behind = copy.copy(model)
    behind._modules = {**model._modules, model.base_model_prefix: _Given(states[None])}
    rescaled: torch.Tensor = behind(inputs_embeds=states[None], use_cache=False).logits[0]
    return rescaled


class _Given(nn.Module):
    """Stands for the layers of a model, and gives these states."""

    def __init__(self, states: torch.Tensor) -> None:
        super().__init__()
        self.found = MoeModelOutputWithPast(last_hidden_state=states)

    def forward(self, **_: Any) -> MoeModelOutputWithPast:
        """Return the states."""
        return self.found


def choice_logprobs(
    model: Any, choices: list[int], rows: torch.Tensor, columns: torch.Tensor, **inputs: Any
) -> torch.Tensor:
    """Run the model and return the log-probabilities of `choices` over the vocabulary, [prompts, choices], float32.

    `rows` and `columns` [prompts] say where each prompt's last token stands in the logits [rows, kept columns, words].
    """
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear) or head.weight.dtype == torch.float32 or rescales(model):
        last = model(**inputs).logits[rows, columns].float()
        found = last[:, choices]
    else:
        with _inputs_of(head) as seen:
            last = model(**inputs).logits[rows, columns].float()
        bias = None if head.bias is None else head.bias[choices].float()
        found = nn.functional.linear(seen[-1][rows, columns].float(), head.weight[choices].float(), bias)
    logprobs: torch.Tensor = found - last.logsumexp(dim=-1, keepdim=True)
    return logprobs


@contextmanager
def _inputs_of(module: nn.Module) -> Iterator[list[torch.Tensor]]:
    """Keep what this thread hands to the module."""
    seen: list[torch.Tensor] = []
    owner = threading.get_ident()

    def keep(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if threading.get_ident() == owner:
            seen.append(inputs[0])

    handle = module.register_forward_pre_hook(keep)
    try:
        yield seen
    finally:
        handle.remove()
