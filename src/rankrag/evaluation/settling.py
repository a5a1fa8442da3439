"""How many passages must be judged: quality against cost of each bound of `judge_until_settled`, from judgements."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from rankrag.evaluation.first_stage import Ids
from rankrag.evaluation.metrics import recall_at
from rankrag.evaluation.selection import Case
from rankrag.evaluation.work import finals, reordered
from rankrag.rerank import BLOCK, NEVER, Judgement, kth_best, settled

MAY_LOSE = 0.005
"""Recall that a bound may lose on the questions it is fitted on."""

_BOUNDS = 20


@dataclass(frozen=True, slots=True)
class SettlingTrial:
    """What a bound (None: all are judged) gives: passages judged, recall of the gold ones in the top k, all means.

    `same` is the share of questions whose top k holds the same passages as the exact one.
    """

    bound: float | None
    judged: float
    recall: float
    same: float


def judged_until_settled(ids: Ids, judged: Mapping[str, Judgement], k: int, bound: float) -> Ids:
    """Return the candidates that are judged before the top `k` is settled."""
    for count in range(BLOCK, len(ids), BLOCK):
        if settled([judged[i].log_odds for i in ids[:count]], k, bound):
            return ids[:count]
    return ids


def settled_top(ids: Ids, judged: Mapping[str, Judgement], k: int, bound: float) -> tuple[int, Ids]:
    """Return how many candidates are judged before the top `k` is settled, and that top."""
    first = judged_until_settled(ids, judged, k, bound)
    return len(first), reordered(first, finals(judged))[:k]


def settling_trials(cases: Sequence[Case], k: int) -> tuple[SettlingTrial, ...]:
    """Return a trial of judging all, then of falling bounds, at even shares of the k-th best log-odds so far."""
    looks = [
        kth_best([case.judged[i].log_odds for i in ids[:count]], k)
        for case in cases
        for ids in case.first_stages
        for count in range(BLOCK, len(ids), BLOCK)
        if count >= k
    ]
    shares = np.linspace(1, 0, _BOUNDS + 1)
    bounds = (
        [NEVER, *dict.fromkeys(math.floor(float(b) * 100) / 100 for b in np.quantile(looks, shares))]
        if looks
        else [NEVER]
    )
    return tuple(settling_trial(cases, k, bound) for bound in bounds)


def best_bound(trials: Sequence[SettlingTrial], may_lose: float = MAY_LOSE) -> float | None:
    """Return the lowest bound such that no bound from it upwards loses more recall than `may_lose`; None: judge all."""
    exact, found = trials[0].recall, None
    for trial in trials[1:]:
        if trial.recall < exact - may_lose - 1e-9:
            break
        found = trial.bound
    return found


def settling_trial(cases: Sequence[Case], k: int, bound: float) -> SettlingTrial:
    """Return what a bound gives on these questions and all their first stages."""
    judged, recall, same = [], [], []
    for case in cases:
        for ids in case.first_stages:
            count, top = settled_top(ids, case.judged, k, bound)
            judged.append(count)
            recall.append(recall_at(top, case.gold, k))
            same.append(set(top) == set(reordered(ids, finals(case.judged))[:k]))
    return SettlingTrial(None if bound == NEVER else bound, fmean(judged), fmean(recall), fmean(same))
