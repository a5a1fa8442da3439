"""Log-probabilities of a few next tokens, with everything left out that they do not need.

Two steps surprise. In 16 bits the labels' logits are computed again in float32 (`choice_logprobs`): a bfloat16 logit
between 16 and 32 is a multiple of 1/8, so labels tie and passages change places by rounding alone. And the last
layer's feed-forward part is computed at the last tokens only (`last_tokens_only`): nothing reads it elsewhere. Keys
and values of that layer come before it, so kept states are the same. This saves 2.5 % of the work of 30 layers.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import MoeModelOutputWithPast

from rankrag.models.loading import layers_of

_RESCALES = ("logits_scaling", "logit_scale", "final_logit_softcapping", "lm_head_multiplier")
"""Settings by which architectures change logits after the head."""

_FEED_FORWARD = ("mlp", "feed_forward")
"""Names of the part of a layer that reads each token by itself."""


def rescales(model: Any) -> list[str]:
    """Return the settings by which the model changes its logits after the head; mostly none."""
    config = model.config.get_text_config()
    return [name for name in _RESCALES if getattr(config, name, None) not in (None, 1, 1.0)]


def vocabulary_logits(model: Any, states: torch.Tensor) -> torch.Tensor:
    """Return a causal model's logits [states, vocabulary] for states [states, size] after its final norm."""
    if not rescales(model):
        logits: torch.Tensor = model.get_output_embeddings()(states)
        return logits
    # what the settings mean differs (Granite divides by what HyperCLOVA X multiplies with), so the model's own code
    # runs, with these states in place of its layers
    behind = copy.copy(model)
    behind._modules = {**model._modules, model.base_model_prefix: _Given(states[None])}
    rescaled: torch.Tensor = behind(inputs_embeds=states[None], use_cache=False).logits[0]
    return rescaled


class _Given(nn.Module):
    """Takes the place of a model's layers and returns these states."""

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

    `rows` and `columns` [prompts] are the places of the prompts' last tokens in the input [rows, columns].
    """
    # the layers alone, then the head at the last tokens: the vocabulary is far wider than a state
    states = model.base_model(**inputs).last_hidden_state[rows, columns]
    logits = vocabulary_logits(model, states).float()
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear) or head.weight.dtype == torch.float32 or rescales(model):
        found = logits[:, choices]
    else:
        # the head is one row of weights for each label: again in float32, this costs nothing
        bias = None if head.bias is None else head.bias[choices].float()
        found = nn.functional.linear(states.float(), head.weight[choices].float(), bias)
    logprobs: torch.Tensor = found - logits.logsumexp(dim=-1, keepdim=True)
    return logprobs


def last_tokens_only(causal: Any, rows: torch.Tensor, columns: torch.Tensor) -> Any:
    """Within this context, compute the last layer's feed-forward part only at these places [prompts] of a batch.

    If the part has no known name, or is a mixture of experts (which may return more than states), nothing changes.
    """
    last = layers_of(causal)[-1]
    part = next((found for name in _FEED_FORWARD if (found := getattr(last, name, None)) is not None), None)
    if part is None or any("expert" in name or "router" in name for name, _ in part.named_modules()):
        return nullcontext()
    return _only_at(part, rows, columns)


@contextmanager
def _only_at(part: nn.Module, rows: torch.Tensor, columns: torch.Tensor) -> Iterator[None]:
    shape: list[torch.Size] = []
    owner = threading.get_ident()

    def before(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        if threading.get_ident() != owner:
            return None
        hidden, *others = inputs
        shape.append(hidden.shape)
        return (hidden[rows, columns][None], *others)

    def after(_module: nn.Module, _inputs: Any, output: torch.Tensor) -> torch.Tensor | None:
        if threading.get_ident() != owner:
            return None
        whole = output.new_zeros(shape.pop())
        whole[rows, columns] = output[0]
        return whole

    handles = [part.register_forward_pre_hook(before), part.register_forward_hook(after)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
