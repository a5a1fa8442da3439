"""How sure a figure is: bootstrap intervals, paired tests between systems, and what reranking costs in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rankrag.evaluation.lines import Seconds

RESAMPLES = 2_000

EXACT_UP_TO = 16
"""With at most this many questions that differ, a permutation test tries all 2^n signs."""

PERMUTATIONS = 10_000
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with its 95 % bootstrap interval (2.5th and 97.5th percentile of the resampled means)."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap_interval(values: Sequence[float], seed: int = 0) -> Interval:
    """Return the mean of per-question values with its 95 % interval, from 2,000 resamples of the questions."""
    return Interval(float(np.mean(values)), *_percentiles(np.asarray(values)[None], lambda means: means[0], seed))


def paired_difference(after: Sequence[float], before: Sequence[float], seed: int = 0) -> Interval:
    """Return the mean of after - before over the same questions, with its 95 % interval."""
    return bootstrap_interval([a - b for a, b in zip(after, before, strict=True)], seed)


def permutation_p(after: Sequence[float], before: Sequence[float], seed: int = 0) -> float:
    """Return the two-sided p-value of a paired permutation test of the mean difference; 1 if no question differs.

    Under the null hypothesis the two values of a question can be swapped. Up to 16 questions that differ, all swaps
    are tried; above, 10,000 random ones, and the observed one counts as one more.
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


def gap_interval(
    first: Sequence[float], reranked: Sequence[float], reachable: Sequence[float], seed: int = 0
) -> Interval | None:
    """Return (reranked - first) / (reachable - first) of the means, with its 95 % interval; None without a gap.

    `reachable` is the metric of a perfect order of the same candidates. A negative share means that reranking hurts.
    Resamples that leave no gap are skipped.
    """

    def shares(means: np.ndarray) -> np.ndarray:
        gap = means[2] - means[0]
        return np.asarray((means[1] - means[0])[gap > 1e-12] / gap[gap > 1e-12])

    rows = np.asarray([first, reranked, reachable], dtype=np.float64)
    share = shares(rows.mean(axis=1, keepdims=True))
    return Interval(float(share[0]), *_percentiles(rows, shares, seed)) if len(share) else None


def cost_ratio(n: int, seconds: Seconds) -> float | None:
    """Return N * t2 / (t1 + t3), the time that reranking adds (paper, section 5.5); None if a time is not known."""
    t1, t2, t3 = seconds.t1, seconds.t2, seconds.t3
    return n * t2 / (t1 + t3) if t1 is not None and t2 is not None and t3 is not None and t1 + t3 > 0 else None


def _percentiles(rows: np.ndarray, figure: Callable[[np.ndarray], np.ndarray], seed: int) -> tuple[float, float]:
    """Resample the columns of `rows`; return the percentiles of `figure` of the means, `[rows, resamples]`."""
    count = rows.shape[1]
    drawn = np.random.default_rng(seed).integers(0, count, size=(RESAMPLES, count))
    means = np.stack([row[drawn].mean(axis=1) for row in rows])
    low, high = np.percentile(figure(means), [2.5, 97.5])
    return float(low), float(high)
