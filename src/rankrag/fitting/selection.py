"""Choosing the values of a contract from judgements: rules without a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean

import numpy as np

from rankrag.contract import Contract
from rankrag.data.sets import Judged
from rankrag.evaluation.metrics import exact_match, token_f1
from rankrag.evaluation.work import with_cosines
from rankrag.rerank import Decision, Judgement, decide
from rankrag.types import Ranking

WEIGHTS = tuple(float(step) for step in range(41))
"""Log-odds that a cosine of 1 may add."""

DEPTHS = (1, 2, 3, 5)
"""Values of k that are tried."""

ANSWERABLE_REFUSED_AT_MOST = 0.04
"""Share of answerable questions that the threshold may refuse."""


@dataclass(frozen=True, slots=True)
class Case:
    """A held-out question with its judged candidates.

    Attributes:
        question: the question with its gold passages.
        first_stages: the candidates of each first stage; answers are written from the last one.
        judged: the judgement of each candidate, by passage id.
        cosines: of the question and each candidate, by passage id; empty without an encoder.
        counts: how often the question counts in every mean.
    """

    question: Judged
    first_stages: tuple[Ranking, ...]
    judged: Mapping[str, Judgement]
    cosines: Mapping[str, float] = field(default_factory=dict)
    counts: float = 1.0

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of the candidates that the answer is written from."""
        return tuple(c.passage.id for c in self.first_stages[-1])

    def best(self, ids: Sequence[str]) -> float:
        """Return the best log-odds of these candidates."""
        return max(self.judged[i].log_odds for i in ids)

    def judgements(self, candidates: Ranking, weight: float) -> list[Judgement]:
        """Return the judgements of these candidates, in their order; a cosine adds `weight` times itself."""
        found = {c.passage.id: self.judged[c.passage.id] for c in candidates}
        return list(with_cosines(found, self.cosines, weight).values())

    def decision(self, candidates: Ranking, contract: Contract, k: int) -> Decision:
        """Return what the pipeline decides with this contract."""
        return decide(candidates, self.judgements(candidates, contract.similarity_weight), contract, k)


@dataclass(frozen=True, slots=True)
class Threshold:
    """A log-odds threshold (None: nothing is withheld) and the shares of both kinds of questions that it refuses."""

    below: float | None
    unanswerable_refused: float
    answerable_refused: float

    @property
    def gain(self) -> float:
        """The difference of the two shares."""
        return self.unanswerable_refused - self.answerable_refused


@dataclass(frozen=True, slots=True)
class DepthTrial:
    """Mean exact match and F1 of answers from the first `k` passages."""

    k: int
    questions: int
    em: float
    f1: float


@dataclass(frozen=True, slots=True)
class WeightTrial:
    """A weight of the cosine, and its softmax loss over the candidates of a question in nats, averaged over sources."""

    weight: float
    loss: float


Weighted = tuple[float, float]
"""A value, and how often its question counts."""


def weight_trials(sources: Sequence[Sequence[Case]], weights: Sequence[float] = WEIGHTS) -> tuple[WeightTrial, ...]:
    """Return one trial for each weight, in their order; without cosines one trial, of weight 0."""
    if not any(case.cosines for cases in sources for case in cases):
        weights = (0.0,)
    shares = [fmean(case.counts for case in cases) if cases else 1.0 for cases in sources]
    return tuple(WeightTrial(weight, fmean([_loss(cases, weight) for cases in sources], shares)) for weight in weights)


def best_weight(trials: Sequence[WeightTrial]) -> float:
    """Return the weight with the lowest loss; the smaller one of equals.

    A loss sees every candidate. R@1 of a few hundred questions moves in steps that are larger than the differences
    between weights.
    """
    return min(trials, key=lambda t: (round(t.loss, 9), t.weight)).weight


def depth_trial(k: int, replies: Sequence[str], cases: Sequence[Case]) -> DepthTrial:
    """Return the trial of the replies from `k` passages; each reply is compared with its best answer."""
    answers, counts = [case.question.question.answers for case in cases], [case.counts for case in cases]
    em, f1 = (fmean(map(metric, replies, answers), counts) for metric in (exact_match, token_f1))
    return DepthTrial(k, len(replies), em, f1)


def best_depth(trials: Sequence[DepthTrial]) -> int:
    """Return the k with the best F1; of equals the smallest, which takes the least time."""
    return max(trials, key=lambda t: (round(t.f1, 9), -t.k)).k


def best_threshold(
    answerable: Sequence[Weighted], unanswerable: Sequence[Weighted], at_most: float = ANSWERABLE_REFUSED_AT_MOST
) -> Threshold:
    """Return the threshold with the largest difference of refused shares, unanswerable minus answerable.

    The values are the log-odds of each question's best passage. Thresholds are midpoints of neighbouring values. One
    that refuses more than `at_most` of the answerable questions is not allowed; of equals the lowest is taken. If no
    threshold is better than none, nothing is withheld.
    """
    best = Threshold(None, 0.0, 0.0)
    for low, high in pairwise(sorted({value for value, _ in (*answerable, *unanswerable)})):
        below = (low + high) / 2
        tried = Threshold(below, _share_below(unanswerable, below), _share_below(answerable, below))
        allowed = tried.answerable_refused <= at_most
        if allowed and tried.gain > best.gain + 1e-12:
            best = tried
    return best


def _share_below(values: Sequence[Weighted], below: float) -> float:
    counts = [counted for _, counted in values]
    return fmean([value < below for value, _ in values], counts) if values else 0.0


_SCALES = np.geomspace(0.05, 2.0, 25)


def _loss(cases: Sequence[Case], weight: float) -> float:
    """Return the mean softmax loss of the rankings with gold passages and others, at the best of `_SCALES`."""
    pairs = []
    for case in cases:
        for candidates in case.first_stages:
            gold = np.array([c.passage.id in case.question.gold for c in candidates])
            if gold.any() and not gold.all():
                pairs.append((np.array([j.final for j in case.judgements(candidates, weight)]), gold))
    if not pairs:
        return 0.0
    scores, gold = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
    sizes = np.array([len(own) for own, _ in pairs])
    starts = np.cumsum(sizes) - sizes
    below_best = scores - np.repeat(np.maximum.reduceat(scores, starts), sizes)  # at most 0: no exponential overflows
    return min(_loss_at(scale * below_best, gold, starts) for scale in _SCALES)


def _loss_at(scores: np.ndarray, gold: np.ndarray, starts: np.ndarray) -> float:
    """Return the mean loss of rankings whose scores are joined end to end."""
    everything = np.logaddexp.reduceat(scores, starts)
    relevant = np.logaddexp.reduceat(np.where(gold, scores, -np.inf), starts)
    return float((everything - relevant).mean())
