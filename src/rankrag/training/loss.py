"""The loss: cross-entropy on target tokens only; a ranking label is a token like any other (paper, 4.2)."""

from __future__ import annotations

from typing import Any

import torch
from peft import PeftModel
from torch import nn
from torch.nn.functional import cross_entropy

from rankrag.models.label_logits import vocabulary_logits
from rankrag.training.attention import mask_for
from rankrag.training.batches import IGNORE, Batch


class RowModel(nn.Module):
    """A causal language model that takes a batch of rows and computes vocabulary logits before target tokens only."""

    def __init__(self, causal: Any) -> None:
        super().__init__()
        self.causal = causal

    @property
    def inner(self) -> Any:
        """The language model itself, adapter layers in place."""
        return self.causal.get_base_model() if isinstance(self.causal, PeftModel) else self.causal

    def forward(self, batch: Batch) -> torch.Tensor:
        """Return logits [targets, vocabulary]."""
        causal = self.inner
        found = causal.base_model(
            input_ids=batch.input_ids,
            attention_mask=mask_for(
                causal.config._attn_implementation, batch, causal.get_input_embeddings().weight.dtype
            ),
            position_ids=batch.positions,
            use_cache=False,
        )
        return vocabulary_logits(causal, found.last_hidden_state[:, :-1][batch.labels[:, 1:] != IGNORE])


def batch_loss(logits: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weighted sum of the losses of a `RowModel`'s logits, and each target token's own cross-entropy."""
    wanted = batch.labels[:, 1:] != IGNORE
    losses = cross_entropy(logits.float(), batch.labels[:, 1:][wanted], reduction="none")
    return (losses * batch.weights[:, 1:][wanted]).sum(), losses.detach()
