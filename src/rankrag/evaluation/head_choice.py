"""The layer to rank from: labels of held-back candidates, a head of every layer, and what the chosen one says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rankrag.contract import LayerHead
from rankrag.data.progress import Progress
from rankrag.errors import ConfigError
from rankrag.evaluation.head_fit import FOLDS, FittedHead, Pairs, Quality, choose_layer, fit_head, fold_of, quality
from rankrag.evaluation.held_back import Drawn, without_answers
from rankrag.evaluation.layer_states import LayerStates
from rankrag.evaluation.work import Judgements
from rankrag.rerank import Judgement


@dataclass(frozen=True, slots=True)
class LayerTrial:
    """A score on held-out questions. `share` of the layers is what a pass costs; 1, without a loss, is P(True)."""

    layer: int
    share: float
    loss: str
    penalty: float
    auc: float
    r1: float
    mrr: float


@dataclass(frozen=True, slots=True)
class HeadReport:
    """How a layer head was found: its pairs, P(True) and each layer on the same ones.

    `loses_nothing` says that neither AUC nor R@1 of the chosen `layer` is below P(True)'s by a point.
    """

    layer: int
    loses_nothing: bool
    questions: int
    pairs: int
    relevant: int
    own: LayerTrial
    layers: tuple[LayerTrial, ...]


@dataclass(frozen=True, slots=True)
class Labelled:
    """A question's candidates that are surely relevant or surely not, by source and question id."""

    source: str
    question: str
    ids: tuple[str, ...]
    relevant: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class ChosenHead:
    """The head for the contract, how it was found, and the heads of its folds."""

    head: LayerHead
    report: HeadReport
    place: int
    fitted: FittedHead

    def judgements(self, drawn: Drawn, states: LayerStates, labelled: Sequence[Labelled]) -> Judgements:
        """Return what the head says of all candidates of a source.

        A question that it was fitted to is judged by the head of the fold that has not seen it.
        """
        numbers = {of.question: number for number, of in enumerate(labelled)}
        found: Judgements = {}
        for of, ids in drawn.wanted:
            number = numbers.get(of.question.id)
            head = self.fitted.head if number is None else self.fitted.of_fold[int(fold_of(number))]
            odds = head(states.states(of.question.id, ids)[:, self.place]) if ids else np.zeros(0)
            found[of.question.id] = {
                i: Judgement(float(o), float(1 / (1 + np.exp(-o)))) for i, o in zip(ids, odds, strict=True)
            }
        return found


def label(drawn: Mapping[str, Drawn]) -> list[Labelled]:
    """Return the labelled candidates of each question that has some of either kind.

    Gold passages are relevant; others are not, less those that contain an answer or nearly equal a gold one.
    """
    found = []
    for source, questions in drawn.items():
        for of, ids in questions.wanted:
            wrong = set(without_answers(of, ids, questions.passages))
            kept = tuple(i for i in ids if i in of.gold or i in wrong)
            relevant = tuple(i in of.gold for i in kept)
            if any(relevant) and not all(relevant):
                found.append(Labelled(source, of.question.id, kept, relevant))
    return found


def choose_head(
    labelled: Sequence[Labelled],
    states: Mapping[str, LayerStates],
    judged: Mapping[str, Judgements],
    layers: Sequence[int],
    depth: int,
    progress: Progress,
) -> ChosenHead:
    """Return the head of the layer that `choose_layer` picks of a model with `depth` layers."""
    if len(labelled) < 2 * FOLDS:
        raise ConfigError(
            f"a layer head needs {2 * FOLDS} held-back questions with a gold passage and another one among their "
            f"candidates (found: {len(labelled)}); raise --questions, or held_back in the blend"
        )
    relevant = np.array([r for of in labelled for r in of.relevant])
    question = np.repeat(np.arange(len(labelled)), [len(of.ids) for of in labelled])
    own_scores = np.array([judged[of.source][of.question][i].log_odds for of in labelled for i in of.ids])
    own = quality(own_scores, Pairs(own_scores[:, None], relevant, question))
    heads: list[FittedHead] = []
    for place, layer in enumerate(layers):
        at_layer = np.concatenate([states[of.source].states(of.question, of.ids)[:, place] for of in labelled])
        heads.append(fit_head(Pairs(at_layer, relevant, question)))
        progress(f"fitting heads, now layer {layer}", place + 1, len(layers))
    layer, loses_nothing = choose_layer([(n, h.quality) for n, h in zip(layers, heads, strict=True)], own)
    place = list(layers).index(layer)
    trials = [_trial(n, depth, h.quality, h) for n, h in zip(layers, heads, strict=True)]
    report = HeadReport(
        layer,
        loses_nothing,
        len(labelled),
        len(relevant),
        int(relevant.sum()),
        _trial(depth, depth, own, None),
        tuple(trials),
    )
    linear = heads[place].head
    head = LayerHead(layer, tuple(float(w) for w in linear.weight.astype(np.float32)), linear.bias)
    return ChosenHead(head, report, place, heads[place])


def _trial(layer: int, depth: int, of: Quality, head: FittedHead | None) -> LayerTrial:
    loss, penalty = (head.loss, head.penalty) if head else ("", 0.0)
    return LayerTrial(layer, layer / depth, loss, penalty, of.auc, of.r1, of.mrr)
