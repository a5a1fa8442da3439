"""The loss: cross-entropy on target tokens alone; for ranking labels also over the candidates of a question.

The paper's ranking loss is pointwise: the label word is a token like any other. The listwise one asks that the
log-odds of "True" against "False" put the question's relevant candidates before the others (a softmax over them).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from peft import PeftModel
from torch import nn
from torch.nn.functional import cross_entropy

from rankrag.models.label_logits import vocabulary_logits
from rankrag.models.layer_head import final_norm
from rankrag.training.attention import mask_for
from rankrag.training.batches import IGNORE, Batch

RankingLoss = Literal["pointwise", "listwise", "both"]


@dataclass(frozen=True, slots=True)
class LossSettings:
    """What is summed: the two label ids (relevant first), the ranking loss, and the weight of the early one."""

    label_ids: tuple[int, int]
    ranking: RankingLoss = "pointwise"
    aux_weight: float = 0.0


class RowModel(nn.Module):
    """A causal language model that is called with a batch of rows.

    Its vocabulary logits are computed before target tokens only, and after `aux_layer` layers (where it is given)
    before ranking labels only, read through the final norm and the head.
    """

    def __init__(self, causal: Any, aux_layer: int | None = None) -> None:
        super().__init__()
        self.causal = causal
        self.aux_layer = aux_layer

    @property
    def inner(self) -> Any:
        """The language model itself, adapter layers in place."""
        return self.causal.get_base_model() if isinstance(self.causal, PeftModel) else self.causal

    def forward(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits [targets, vocabulary] and early logits [ranking labels, vocabulary] (none: no rows)."""
        causal = self.inner
        found = causal.base_model(
            input_ids=batch.input_ids,
            attention_mask=mask_for(
                causal.config._attn_implementation, batch, causal.get_input_embeddings().weight.dtype
            ),
            position_ids=batch.positions,
            use_cache=False,
            output_hidden_states=self.aux_layer is not None,
        )
        logits = vocabulary_logits(causal, found.last_hidden_state[:, :-1][batch.labels[:, 1:] != IGNORE])
        if self.aux_layer is None:
            return logits, logits[:0]
        early = found.hidden_states[self.aux_layer][:, :-1][batch.groups[:, 1:] >= 0]
        return logits, vocabulary_logits(causal, final_norm(causal)(early))


def batch_loss(
    found: tuple[torch.Tensor, torch.Tensor], batch: Batch, settings: LossSettings
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weighted sum of the losses of what a `RowModel` gave, and each target token's own cross-entropy."""
    logits, early = found
    wanted = batch.labels[:, 1:] != IGNORE
    targets, weights = batch.labels[:, 1:][wanted], batch.weights[:, 1:][wanted]
    groups = batch.groups[:, 1:][wanted]
    labels = groups >= 0
    losses = cross_entropy(logits.float(), targets, reduction="none")
    terms = losses
    if settings.ranking != "pointwise":
        ranked = ranking_losses(logits[labels], targets[labels], groups[labels], losses[labels], settings)
        terms = losses.masked_scatter(labels, ranked)
    total = (terms * weights).sum()
    if settings.aux_weight:
        own = cross_entropy(early.float(), targets[labels], reduction="none")
        ranked = ranking_losses(early, targets[labels], groups[labels], own, settings)
        total = total + settings.aux_weight * (ranked * weights[labels]).sum()
    return total, losses.detach()


def ranking_losses(
    logits: torch.Tensor, targets: torch.Tensor, groups: torch.Tensor, pointwise: torch.Tensor, settings: LossSettings
) -> torch.Tensor:
    """Return the loss of each ranking label [labels]: its own, its question's, or the sum of the two.

    A question's loss counts once for each of its candidates, so that it weighs what it weighs pointwise. A question
    without both a relevant and an irrelevant candidate has nothing to order: its labels keep the pointwise loss.
    """
    if settings.ranking == "pointwise":
        return pointwise
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
