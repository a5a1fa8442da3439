"""Choosing the contract's fitted values from judgements: pure rules, no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import fmean

import numpy as np

from rankrag.data.sets import Metric
from rankrag.evaluation.first_stage import Ids
from rankrag.evaluation.metrics import all_gold_at, exact_match, recall_at, reciprocal_rank, token_f1
from rankrag.evaluation.work import finals, reordered, with_cosines
from rankrag.rerank import Judgement

WEIGHTS = tuple(float(step) for step in range(41))
"""Log-odds that a cosine of 1 may be worth."""

DEPTHS = (1, 2, 3, 5)
"""Numbers of passages to answer from that are tried."""

ANSWERABLE_REFUSED_AT_MOST = 0.04


@dataclass(frozen=True, slots=True)
class Case:
    """A held-back question: its gold passages, the first stages' candidates, and what was said of them all.

    `cosines` are the encoder's; none where there is no encoder.
    """

    gold: Ids
    first_stages: tuple[Ids, ...]
    judged: Mapping[str, Judgement]
    cosines: Mapping[str, float] = field(default_factory=dict)

    def weighted(self, weight: float) -> Case:
        """Return the case with what this weight of the cosines adds."""
        return replace(self, judged=with_cosines(self.judged, self.cosines, weight))


@dataclass(frozen=True, slots=True)
class WeightTrial:
    """What a weight of the cosine gives: means over sources of the loss that chooses it, the metric and the MRR.

    The loss is that of a softmax over a question's candidates, in nats, each source's scores scaled to its best.
    """

    weight: float
    loss: float
    metric: float
    mrr: float


@dataclass(frozen=True, slots=True)
class Threshold:
    """A log-odds threshold (None: nothing is withheld) and the shares it refuses of either kind."""

    below: float | None
    unanswerable_refused: float
    answerable_refused: float


@dataclass(frozen=True, slots=True)
class DepthTrial:
    """What answers from the first `k` passages reach: means over `questions` questions."""

    k: int
    questions: int
    em: float
    f1: float


def weight_trials(
    sources: Mapping[str, Sequence[Case]], metrics: Mapping[str, Metric], weights: Sequence[float] = WEIGHTS
) -> tuple[WeightTrial, ...]:
    """Return one trial for each weight, in their order; without cosines there is one, of weight 0.

    A source counts with the mean over its questions and first stages of R@1, or of all-gold@5 where `metrics` says so.
    """
    if not any(case.cosines for cases in sources.values() for case in cases):
        weights = (0.0,)
    return tuple(
        WeightTrial(
            weight,
            fmean(_loss(cases) for cases in weighted.values()),
            fmean(fmean(_values(metrics[name], cases)) for name, cases in weighted.items()),
            fmean(fmean(_reciprocal_ranks(cases)) for cases in weighted.values()),
        )
        for weight in weights
        for weighted in [{name: [case.weighted(weight) for case in cases] for name, cases in sources.items()}]
    )


def best_weight(trials: Sequence[WeightTrial]) -> float:
    """Return the weight with the least loss; the smaller of equals.

    A loss, because it hears of every candidate: R@1 of a few hundred questions moves in steps that are larger than what
    weights differ by.
    """
    return min(trials, key=lambda t: (round(t.loss, 9), t.weight)).weight


def depth_trial(k: int, replies: Sequence[str], answers: Sequence[Sequence[str]]) -> DepthTrial:
    """Return what the replies from `k` passages reach; each counts with its best answer."""
    pairs = list(zip(replies, answers, strict=True))
    em, f1 = (fmean(of(reply, right) for reply, right in pairs) for of in (exact_match, token_f1))
    return DepthTrial(k, len(pairs), em, f1)


def best_depth(trials: Sequence[DepthTrial]) -> int:
    """Return the k with the best F1; the smaller of equals, which is read faster."""
    return max(trials, key=lambda t: (round(t.f1, 9), -t.k)).k


def best_threshold(
    answerable: Sequence[float], unanswerable: Sequence[float], at_most: float = ANSWERABLE_REFUSED_AT_MOST
) -> Threshold:
    """Return the threshold with the largest difference of refused shares, unanswerable less answerable.

    The values are the log-odds of each question's best passage. Thresholds lie half-way between neighbouring values;
    one that refuses more than `at_most` of the answerable ones is out; of equals, the lowest is taken. Where no
    threshold is better than none, nothing is withheld.
    """
    best = Threshold(None, 0.0, 0.0)
    for low, high in pairwise(sorted({*answerable, *unanswerable})):
        below = (low + high) / 2
        tried = Threshold(below, _share_below(unanswerable, below), _share_below(answerable, below))
        allowed = tried.answerable_refused <= at_most
        if allowed and _difference(tried) > _difference(best) + 1e-12:
            best = tried
    return best


def _difference(of: Threshold) -> float:
    return of.unanswerable_refused - of.answerable_refused


def _share_below(values: Sequence[float], below: float) -> float:
    return fmean(value < below for value in values) if values else 0.0


def _values(metric: Metric, cases: Sequence[Case]) -> list[float]:
    multi_hop = metric == "all-gold@5"
    orders = [(c.gold, reordered(ids, finals(c.judged))) for c in cases for ids in c.first_stages]
    return [all_gold_at(ids, gold, 5) if multi_hop else recall_at(ids, gold, 1) for gold, ids in orders]


def _reciprocal_ranks(cases: Sequence[Case]) -> list[float]:
    return [reciprocal_rank(reordered(ids, finals(c.judged)), c.gold) for c in cases for ids in c.first_stages]


_SCALES = np.geomspace(0.05, 2.0, 25)


def _loss(cases: Sequence[Case]) -> float:
    """Return the mean softmax loss of the rankings that hold gold passages and others, at the scale that suits best."""
    pairs = []
    for case in cases:
        final = finals(case.judged)
        for ids in case.first_stages:
            gold = np.array([i in case.gold for i in ids])
            if gold.any() and not gold.all():
                pairs.append((np.array([final[i] for i in ids]), gold))
    if not pairs:
        return 0.0
    scores, gold = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    sizes = np.array([len(of) for of, _ in pairs])
    starts = np.cumsum(sizes) - sizes
    losses = []
    for scale in _SCALES:
        shifted = scale * (scores - np.repeat(np.maximum.reduceat(scores, starts), sizes))
        everything = np.logaddexp.reduceat(shifted, starts)
        relevant = np.logaddexp.reduceat(np.where(gold, shifted, -np.inf), starts)
        losses.append(float((everything - relevant).mean()))
    return min(losses)
