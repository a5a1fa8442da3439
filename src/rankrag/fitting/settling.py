"""Choosing the bound at which judging stops: recall against passages judged, from judgements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from rankrag.contract import Contract
from rankrag.evaluation.metrics import recall_at
from rankrag.fitting.selection import Case
from rankrag.rerank import BLOCK, NEVER, decide, settled_after

MAY_LOSE = 0.005
"""Recall that a bound may lose on the questions it is fitted on."""

CANDIDATES = 4 * BLOCK
"""Candidates that a question must have to count: with few behind the first block, a bound hardly misses any of them.

Bounds fitted to six and to ten candidates, of the third best then, lost 3 of 48 and 6 of 44 answers on other questions.
"""

_BOUNDS = 20


@dataclass(frozen=True, slots=True)
class SettlingTrial:
    """A bound (None: all are judged) with its means: passages judged, and recall of the gold ones in the top k."""

    bound: float | None
    judged: float
    recall: float


def settling_trials(cases: Sequence[Case], contract: Contract, k: int) -> tuple[SettlingTrial, ...]:
    """Return a trial of judging all, then of falling bounds, at even quantiles of the best log-odds so far.

    No bound is below 0: before a passage is likelier relevant than not, judging goes on. Where no question has
    `CANDIDATES` of them, judging all is the only trial.
    """
    looks = [
        max(0.0, *(case.judged[c.passage.id].log_odds for c in candidates[:count]))
        for case in cases
        for candidates in case.first_stages
        for count in range(BLOCK, len(candidates), BLOCK)
        if len(candidates) >= CANDIDATES
    ]
    shares = np.linspace(1, 0, _BOUNDS + 1)
    bounds = dict.fromkeys(math.floor(float(b) * 100) / 100 for b in np.quantile(looks, shares)) if looks else ()
    return tuple(settling_trial(cases, contract, k, bound) for bound in (NEVER, *bounds))


def best_bound(trials: Sequence[SettlingTrial], may_lose: float = MAY_LOSE) -> float | None:
    """Return the lowest bound such that no higher one loses more recall than `may_lose`; None: judge all."""
    exact, found = trials[0].recall, None
    for trial in trials[1:]:
        if trial.recall < exact - may_lose - 1e-9:
            break
        found = trial.bound
    return found


def settling_trial(cases: Sequence[Case], contract: Contract, k: int, bound: float) -> SettlingTrial:
    """Return the trial of a bound on these questions and all their first stages."""
    judged, recall, counts = [], [], []
    for case in cases:
        for candidates in case.first_stages:
            judgements = case.judgements(candidates, contract.similarity_weight)
            count = settled_after([j.log_odds for j in judgements], bound)
            contexts = decide(candidates, judgements[:count], contract, k).contexts
            judged.append(count)
            counts.append(case.counts)
            recall.append(recall_at([c.passage.id for c in contexts], case.question.gold, k))
    return SettlingTrial(None if bound == NEVER else bound, fmean(judged, counts), fmean(recall, counts))
