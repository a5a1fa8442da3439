"""How sure a difference is: two systems on the same questions, and what the rest of a run costs.

Intervals of one system are in `metrics`; here are paired tests, which see a small difference that two separate
intervals would hide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rankrag.evaluation.metrics import Interval, paired_difference

EXACT_UP_TO = 16
"""Questions that differ, up to which all 2^n signs are tried."""

PERMUTATIONS = 10_000
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Paired:
    """The mean difference of two systems with its 95 % interval (paired bootstrap), and the p of no difference."""

    difference: Interval
    p: float


def compared(after: Sequence[float], before: Sequence[float], seed: int = 0) -> Paired:
    """Return the paired difference after - before of one metric on the same questions, in the same order."""
    return Paired(paired_difference(after, before, seed), permutation_p(after, before, seed))


def permutation_p(after: Sequence[float], before: Sequence[float], seed: int = 0) -> float:
    """Return the two-sided p of a paired permutation test of the mean difference; 1 where no question differs.

    The two values of a question are swapped at random: all ways where at most 16 questions differ, else 10,000 drawn
    ones, of which the data as they stand count as one more.
    """
    differences = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    moved = differences[np.abs(differences) > 1e-12]  # a question without a difference changes no sum
    if not len(moved):
        return 1.0
    least = abs(moved.sum()) - 1e-9
    if len(moved) <= EXACT_UP_TO:
        bits = np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved)) & 1
        return float((np.abs((bits * 2 - 1) @ moved) >= least).mean())
    rng = np.random.default_rng(seed)
    as_far = sum(
        int((np.abs(rng.choice((-1.0, 1.0), size=(_AT_ONCE, len(moved))) @ moved) >= least).sum())
        for _ in range(PERMUTATIONS // _AT_ONCE)
    )
    return (as_far + 1) / (PERMUTATIONS + 1)


def cost_ratio(n: int, t1: float, t2: float, t3: float) -> float | None:
    """Return N * t2 / (t1 + t3), the time that reranking adds (paper, section 5.5); None where nothing else takes time.

    Seconds of one retrieval (t1), of judging one passage (t2) and of one answer (t3).
    """
    return n * t2 / (t1 + t3) if t1 + t3 > 0 else None
