"""Whether scores can be believed: how P(True) fits what is relevant, and what abstaining buys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean
from typing import TYPE_CHECKING

from rankrag.errors import DataError

if TYPE_CHECKING:
    from rankrag.evaluation.questions import QuestionResult

BINS = 10

Pairs = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Bin:
    """Predictions in [low, high), in the last bin 1 too: how many, their mean probability, the share that is true."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class Risk:
    """What a threshold does: the share of questions still answered, and the mean loss of these."""

    threshold: float
    coverage: float
    risk: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far scores can be believed: ECE of P(True) over the passages, AURC of answering by the best P(True).

    `passages` and `answers` are how many each is of; None where there were none. `wrong` is the share of wrong answers
    when all are given, which the AURC lies below where the best P(True) tells right from wrong.
    """

    passages: int = 0
    ece: float | None = None
    answers: int = 0
    aurc: float | None = None
    wrong: float | None = None


def calibration(rows: Sequence[QuestionResult]) -> Calibration:
    """Return the calibration of a system on a set, from its lines."""
    judged, answered = relevance_pairs(rows), confidence_pairs(rows)
    losses = [loss for _, loss in answered]
    return Calibration(
        len(judged),
        expected_calibration_error([p for p, _ in judged], [gold for _, gold in judged]) if judged else None,
        len(answered),
        area_under_risk(risk_coverage([p for p, _ in answered], losses)) if answered else None,
        fmean(losses) if answered else None,
    )


def relevance_pairs(rows: Sequence[QuestionResult]) -> Pairs:
    """Return P(True) of every passage with 1 where it is a gold one, else 0; of questions that have gold passages."""
    return [
        (p, float(name in row.gold))
        for row in rows
        for name, p in zip(row.reranked, row.p_true, strict=True)
        if p is not None and row.gold
    ]


def confidence_pairs(rows: Sequence[QuestionResult]) -> Pairs:
    """Return the best P(True) of every answered question with 0 where the answer is right, else 1."""
    return [
        (max(p for p in row.p_true if p is not None), float(row.outcome != "right"))
        for row in rows
        if row.answer is not None and any(p is not None for p in row.p_true)
    ]


def reliability(probabilities: Sequence[float], outcomes: Sequence[float], bins: int = BINS) -> tuple[Bin, ...]:
    """Return the data of a reliability plot: bins of equal width over [0, 1], empty ones left out.

    `outcomes` are 1 where the prediction came true (the passage is relevant), else 0. `DataError` names a probability
    that is none.
    """
    held: list[list[tuple[float, float]]] = [[] for _ in range(bins)]
    for place, (probability, outcome) in enumerate(zip(probabilities, outcomes, strict=True)):
        if not 0.0 <= probability <= 1.0:  # NaN too
            raise DataError(f"prediction {place} is {probability}, not a probability; score the passages anew")
        held[min(int(probability * bins), bins - 1)].append((probability, outcome))
    return tuple(
        Bin(
            number / bins,
            (number + 1) / bins,
            len(of),
            sum(p for p, _ in of) / len(of),
            sum(outcome for _, outcome in of) / len(of),
        )
        for number, of in enumerate(held)
        if of
    )


def expected_calibration_error(probabilities: Sequence[float], outcomes: Sequence[float], bins: int = BINS) -> float:
    """Return the mean distance of confidence and accuracy over the predictions, bin by bin (ECE); 0 without any."""
    found = reliability(probabilities, outcomes, bins)
    total = sum(of.count for of in found)
    return sum(of.count * abs(of.confidence - of.accuracy) for of in found) / total if total else 0.0


def risk_coverage(confidences: Sequence[float], losses: Sequence[float]) -> tuple[Risk, ...]:
    """Return what each threshold of abstention does, the highest first; questions of equal confidence go together.

    A question is answered where its confidence reaches the threshold. `losses` are 1 - metric of the answers.
    `DataError` names a confidence that is not a number.
    """
    for place, confidence in enumerate(confidences):
        if confidence != confidence:
            raise DataError(f"the confidence of question {place} is not a number; score the passages anew")
    pairs = sorted(zip(confidences, losses, strict=True), key=lambda pair: -pair[0])
    found: list[Risk] = []
    answered, lost = 0, 0.0
    for threshold, of in groupby(pairs, key=lambda pair: pair[0]):
        for _, loss in of:
            answered, lost = answered + 1, lost + loss
        found.append(Risk(threshold, answered / len(pairs), lost / answered))
    return tuple(found)


def area_under_risk(curve: Sequence[Risk]) -> float:
    """Return the mean risk over all coverages (AURC): of each step its risk, by the coverage that it adds."""
    before = [0.0, *(of.coverage for of in curve)]
    return sum(of.risk * (of.coverage - previous) for of, previous in zip(curve, before, strict=False))
