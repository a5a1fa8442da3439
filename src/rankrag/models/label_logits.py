"""Log-probabilities of a few next tokens, with everything left out that they do not need.

One step surprises. In 16 bits the labels' logits are computed again in float32: a bfloat16 logit between 16 and 32 is a
multiple of 1/8, so labels tie and passages change places by rounding alone.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import MoeModelOutputWithPast

_RESCALES = ("logits_scaling", "logit_scale", "final_logit_softcapping", "lm_head_multiplier")
"""Settings by which architectures change logits after the head."""


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
