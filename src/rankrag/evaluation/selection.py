"""Choosing the contract's fitted values from judgements: pure rules, no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from rankrag.evaluation.benchmarks import Metric
from rankrag.evaluation.first_stage import Ids
from rankrag.evaluation.metrics import all_gold_at, exact_match, recall_at, reciprocal_rank, token_f1
from rankrag.evaluation.work import reordered

WEIGHTS = tuple(round(step / 10, 1) for step in range(21))
"""Shares of the first stage that are tried."""

DEPTHS = (1, 2, 3, 5)
"""Numbers of passages to answer from that are tried."""

ANSWERABLE_REFUSED_AT_MOST = 0.04


@dataclass(frozen=True, slots=True)
class Case:
    """A held-back question: its gold passages, the first stages' candidates, and the model's log-odds of them all."""

    gold: Ids
    first_stages: tuple[Ids, ...]
    log_odds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class WeightTrial:
    """What a weight gives: means over sources of the metric, and of the reciprocal rank that breaks ties."""

    weight: float
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
    """Return one trial for each weight, in their order.

    A source counts with the mean over its questions and first stages of R@1, or of all-gold@5 where `metrics` says so.
    """
    return tuple(
        WeightTrial(
            weight,
            fmean(fmean(_values(metrics[name], cases, weight)) for name, cases in sources.items()),
            fmean(fmean(_reciprocal_ranks(cases, weight)) for cases in sources.values()),
        )
        for weight in weights
    )


def best_weight(trials: Sequence[WeightTrial]) -> float:
    """Return the weight with the best metric, then the best reciprocal rank; the smaller of equals."""
    return max(trials, key=lambda t: (round(t.metric, 9), round(t.mrr, 9), -t.weight)).weight


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


def _values(metric: Metric, cases: Sequence[Case], weight: float) -> list[float]:
    multi_hop = metric == "all-gold@5"
    orders = [(c.gold, reordered(ids, c.log_odds, weight)) for c in cases for ids in c.first_stages]
    return [all_gold_at(ids, gold, 5) if multi_hop else recall_at(ids, gold, 1) for gold, ids in orders]


def _reciprocal_ranks(cases: Sequence[Case], weight: float) -> list[float]:
    return [reciprocal_rank(reordered(ids, c.log_odds, weight), c.gold) for c in cases for ids in c.first_stages]
