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
    """How far scores can be believed: ECE of P(True) over passages, AURC of answering by the best P(True).

    `passages` and `answers` count what each is computed from; without any it is None. `wrong` is the share of wrong
    answers if all are given: the AURC is below it if the best P(True) tells right from wrong answers. `bins` and
    `risks` are the two curves.
    """

    passages: int = 0
    ece: float | None = None
    answers: int = 0
    aurc: float | None = None
    wrong: float | None = None
    bins: tuple[Bin, ...] = ()
    risks: tuple[Risk, ...] = ()


def calibration(lines: Sequence[QuestionLine]) -> Calibration:
    """Return the calibration of a system on a set."""
    judged, answered = _relevance_pairs(lines), _confidence_pairs(lines)
    bins, risks = reliability(judged), risk_coverage(answered)
    return Calibration(
        passages=len(judged),
        ece=expected_calibration_error(judged) if judged else None,
        answers=len(answered),
        aurc=area_under_risk(risks) if risks else None,
        wrong=risks[-1].risk if risks else None,
        bins=bins,
        risks=risks,
    )


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


def expected_calibration_error(predictions: Pairs, bins: int = BINS) -> float:
    """Return the mean distance of confidence and accuracy over the predictions, bin by bin (ECE); 0 without any."""
    found = reliability(predictions, bins)
    total = sum(size for size, _, _ in found)
    return sum(size * abs(confidence - accuracy) for size, confidence, accuracy in found) / total if total else 0.0


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


def area_under_risk(curve: Sequence[Risk]) -> float:
    """Return the mean risk over all coverages (AURC): the risk of each step, weighted by the coverage it adds."""
    before = [0.0, *(step.coverage for step in curve)]
    return sum(step.risk * (step.coverage - previous) for step, previous in zip(curve, before, strict=False))
