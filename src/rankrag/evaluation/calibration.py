"""Whether scores can be believed: how well P(True) fits the gold passages, and what abstaining buys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean
from typing import NamedTuple

from rankrag.evaluation.lines import QuestionLine

BINS = 10

Pairs = list[tuple[float, float]]


class Bin(NamedTuple):
    """Predictions of one bin: how many, their mean probability, the share that is true."""

    size: int
    confidence: float
    accuracy: float


class Risk(NamedTuple):
    """What a threshold of abstention does: the share of questions still answered, and their mean loss."""

    coverage: float
    risk: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far scores can be believed: two curves, and what they come to; None without any passage or answer.

    Attributes:
        bins: P(True) of judged passages beside the share of them that is gold.
        risks: what each threshold of abstention by the best P(True) does.
        answers: how many answers `risks` is computed from.
    """

    bins: tuple[Bin, ...] = ()
    risks: tuple[Risk, ...] = ()
    answers: int = 0

    @property
    def passages(self) -> int:
        """How many passages `bins` is computed from."""
        return sum(one.size for one in self.bins)

    @property
    def ece(self) -> float | None:
        """The expected calibration error: the mean distance of confidence and accuracy over passages, bin by bin."""
        off = sum(one.size * abs(one.confidence - one.accuracy) for one in self.bins)
        return off / self.passages if self.bins else None

    @property
    def aurc(self) -> float | None:
        """The mean risk over all coverages: the risk of each step, weighted by the coverage it adds."""
        steps = zip(self.risks, (0.0, *(step.coverage for step in self.risks)), strict=False)
        return sum(step.risk * (step.coverage - before) for step, before in steps) if self.risks else None

    @property
    def wrong(self) -> float | None:
        """The share of wrong answers if all are given; `aurc` is below it if P(True) tells right from wrong answers."""
        return self.risks[-1].risk if self.risks else None


def calibration(lines: Sequence[QuestionLine]) -> Calibration:
    """Return the calibration of a system on a set."""
    answered = _confidence_pairs(lines)
    return Calibration(reliability(_relevance_pairs(lines)), risk_coverage(answered), len(answered))


def _relevance_pairs(lines: Sequence[QuestionLine]) -> Pairs:
    """Return P(True) of every judged passage with 1 if it is gold, else 0; for questions that have gold passages."""
    return [
        (p, float(name in line.gold))
        for line in lines
        for name, p in zip(line.reranked, line.p_true, strict=True)
        if p is not None and line.gold
    ]


def _confidence_pairs(lines: Sequence[QuestionLine]) -> Pairs:
    """Return the best P(True) of every answered question with its loss: 0 if the answer is right, else 1."""
    return [
        (max(p for p in line.p_true if p is not None), float(line.outcome != "right"))
        for line in lines
        if line.answer is not None and any(p is not None for p in line.p_true)
    ]


def reliability(predictions: Pairs, bins: int = BINS) -> tuple[Bin, ...]:
    """Return the bins of a reliability plot, of equal width over [0, 1]; empty ones are skipped.

    A prediction is a probability with 1 if it came true, else 0.
    """
    held: list[Pairs] = [[] for _ in range(bins)]
    for probability, outcome in predictions:
        held[min(int(probability * bins), bins - 1)].append((probability, outcome))
    return tuple(Bin(len(pairs), *(fmean(column) for column in zip(*pairs, strict=True))) for pairs in held if pairs)


def risk_coverage(answered: Pairs) -> tuple[Risk, ...]:
    """Return what each threshold of abstention does, the highest first; equal confidences share a threshold.

    Each answer has its confidence and its loss (1 - metric).
    """
    found: list[Risk] = []
    count, lost = 0, 0.0
    for _, group in groupby(sorted(answered, key=lambda pair: -pair[0]), key=lambda pair: pair[0]):
        for _, loss in group:
            count, lost = count + 1, lost + loss
        found.append(Risk(count / len(answered), lost / count))
    return tuple(found)
