"""The loss: cross-entropy on target tokens only, and for ranking labels optionally over a question's candidates.

The paper's ranking loss is pointwise: the label word is a token like any other. The listwise loss is a softmax over the
log-odds of "True" against "False" of all candidates, so that relevant ones come before the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from peft import PeftModel
from torch import nn
from torch.nn.functional import cross_entropy

from rankrag.models.label_logits import vocabulary_logits
from rankrag.training.attention import mask_for
from rankrag.training.batches import IGNORE, Batch

RankingLoss = Literal["pointwise", "listwise", "both"]


@dataclass(frozen=True, slots=True)
class LossSettings:
    """The two label ids (relevant first) and the ranking loss."""

    label_ids: Sequence[int]
    ranking: RankingLoss = "pointwise"


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


def batch_loss(logits: torch.Tensor, batch: Batch, settings: LossSettings) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weighted sum of the losses of a `RowModel`'s logits, and each target token's own cross-entropy."""
    wanted = batch.labels[:, 1:] != IGNORE
    targets, weights = batch.labels[:, 1:][wanted], batch.weights[:, 1:][wanted]
    groups = batch.groups[:, 1:][wanted]
    labels = groups >= 0
    losses = cross_entropy(logits.float(), targets, reduction="none")
    terms = losses
    if settings.ranking != "pointwise":
        ranked = ranking_losses(logits[labels], targets[labels], groups[labels], losses[labels], settings)
        terms = losses.masked_scatter(labels, ranked)
    return (terms * weights).sum(), losses.detach()


def ranking_losses(
    logits: torch.Tensor, targets: torch.Tensor, groups: torch.Tensor, pointwise: torch.Tensor, settings: LossSettings
) -> torch.Tensor:
    """Return the loss of each ranking label [labels]: its own, its question's, or the sum of the two.

    A question's loss counts once for each of its candidates, so that it weighs what it weighs pointwise. A question
    without both a relevant and an irrelevant candidate has nothing to order: its labels keep the pointwise loss.
    """
    true, false = settings.label_ids
    own, complete = listwise_losses((logits[:, true] - logits[:, false]).float(), targets == true, groups)
    combined = own + pointwise if settings.ranking == "both" else own
    return torch.where(complete, combined, pointwise)


def listwise_losses(
    log_odds: torch.Tensor, relevant: torch.Tensor, groups: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return for each candidate its question's loss, and whether the question has candidates of both kinds.

    The loss is the mean over relevant candidates of -log softmax(log-odds) among the question's candidates.
    """
    _, place = torch.unique(groups, return_inverse=True)
    count = int(place.max()) + 1 if len(place) else 0
    zeros = log_odds.new_zeros(count)
    highest = zeros.scatter_reduce(0, place, log_odds.detach(), "amax", include_self=False)[place]
    total = zeros.scatter_add(0, place, (log_odds - highest).exp())
    log_shares = log_odds - highest - total.log()[place]
    positives = zeros.scatter_add(0, place, relevant.to(zeros.dtype))
    sizes = zeros.scatter_add(0, place, torch.ones_like(log_odds))
    losses = zeros.scatter_add(0, place, -log_shares * relevant) / positives.clamp_min(1)
    return losses[place], ((positives > 0) & (positives < sizes))[place]
