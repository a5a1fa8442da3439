"""The paper's claims that the rows can decide, each with its interval and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rankrag.ablation.results import Measure, RowResult
from rankrag.evaluation.statistics import Interval, gap_interval, paired_difference

Verdict = Literal["supported", "not supported", "undecided", "not run"]

MOST = 0.5
"""Share of what all ranking data bring, from which on a part of them "goes a long way"."""

MARGIN = 0.05
"""Nats a token that may be lost before general ability counts as lost: a perplexity 5 % higher."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim, the figure that decides it with its bound, and the verdict on 95 % intervals.

    It is supported where the whole interval lies above the bound, not supported where it lies below.
    """

    text: str
    figure: str
    interval: Interval | None
    bound: float
    verdict: Verdict


def claims(results: Mapping[str, RowResult]) -> tuple[Claim, ...]:
    """Return all claims; those whose rows are missing are "not run"."""
    return (
        _difference(results, "The unified model ranks better than an expert ranker", "ranking_only", "hit@1"),
        _difference(results, "The unified model answers better than an answer-only one", "no_ranking", "F1"),
        _difference(results, "The unified model answers better than an expert ranker", "ranking_only", "F1"),
        _share(results, "10 % of the ranking data", "ranking_10"),
        _share(results, "1 % of the ranking data", "ranking_1"),
        _kept(results, "the base", "untrained"),
        _kept(results, "stage I alone", "stage1_only"),
    )


def verdict(interval: Interval | None, bound: float) -> Verdict:
    """Return what an interval says of "more than the bound"; no interval says nothing."""
    if interval is None or interval.low <= bound <= interval.high:
        return "undecided"
    return "supported" if interval.low > bound else "not supported"


def _difference(results: Mapping[str, RowResult], text: str, other: str, measure: Measure) -> Claim:
    figure = f"{measure}, full − {other}"
    if not {"full", other} <= set(results):
        return Claim(text, figure, None, 0.0, "not run")
    interval = paired_difference(results["full"].values(measure), results[other].values(measure))
    return Claim(text, figure, interval, 0.0, verdict(interval, 0.0))


def _share(results: Mapping[str, RowResult], part: str, row: str) -> Claim:
    text = f"A little goes a long way: {part} bring at least half of what all bring"
    figure = f"(hit@1 of {row} − no_ranking) / (full − no_ranking)"
    if not {"full", "no_ranking", row} <= set(results):
        return Claim(text, figure, None, MOST, "not run")
    none, some, full = (results[name].values("hit@1") for name in ("no_ranking", row, "full"))
    interval = gap_interval(none, some, full)
    return Claim(text, figure, interval, MOST, verdict(interval, MOST))


def _kept(results: Mapping[str, RowResult], than: str, other: str) -> Claim:
    text = f"General ability is not lost: replies to instructions are as likely as after {than}"
    figure = f"nats a token, {other} − full"
    if not {"full", other} <= set(results):
        return Claim(text, figure, None, -MARGIN, "not run")
    interval = paired_difference(results[other].values("loss"), results["full"].values("loss"))
    return Claim(text, figure, interval, -MARGIN, verdict(interval, -MARGIN))
