"""The claims of the paper that the rows can decide: each with its figure, a bound, and the verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from experiments.ablation.run import Measure, Values
from rankrag.evaluation.statistics import Interval, gap_interval, paired_difference

Verdict = Literal["supported", "not supported", "undecided", "not run"]

Figure = Callable[[Mapping[str, Values]], Interval | None]


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim, the figure that decides it in words, the rows that it needs, its bound, and the figure itself."""

    text: str
    shown: str
    rows: tuple[str, ...]
    bound: float
    figure: Figure

    def decided(self, found: Mapping[str, Values]) -> tuple[Interval | None, Verdict]:
        """Return the figure with its 95 % interval, and what follows from it."""
        if not set(self.rows) <= set(found):
            return None, "not run"
        interval = self.figure(found)
        return interval, verdict(interval, self.bound)


def verdict(interval: Interval | None, bound: float) -> Verdict:
    """Return "supported" if the whole interval is above the bound; without an interval nothing is decided."""
    if interval is None or interval.low <= bound <= interval.high:
        return "undecided"
    return "supported" if interval.low > bound else "not supported"


def _better(text: str, measure: Measure, row: str, other: str, bound: float = 0.0) -> Claim:
    def figure(found: Mapping[str, Values]) -> Interval:
        return paired_difference(found[row][measure], found[other][measure])

    return Claim(text, f"{measure}, {row} − {other}", (row, other), bound, figure)


def _part(share: str, row: str) -> Claim:
    """Return the claim that a part of the ranking data brings more than half of what all bring."""
    rows = ("no_ranking", row, "full")
    text = f"A little goes a long way: {share} of the ranking data bring at least half of what all bring"
    shown = f"(hit@1 of {row} − no_ranking) / (full − no_ranking)"

    def figure(found: Mapping[str, Values]) -> Interval | None:
        none, some, full = (found[name]["hit@1"] for name in rows)
        return gap_interval(none, some, full)

    return Claim(text, shown, rows, 0.5, figure)


MARGIN = 0.05
"""Nats per token that may be lost before general ability counts as lost: a perplexity 5 % higher."""

_KEPT = "General ability is not lost: replies to instructions are as likely as after"
CLAIMS = (
    _better("The unified model ranks better than an expert ranker", "hit@1", "full", "ranking_only"),
    _better("The unified model answers better than an answer-only one", "F1", "full", "no_ranking"),
    _better("The unified model answers better than an expert ranker", "F1", "full", "ranking_only"),
    _part("10 %", "ranking_10"),
    _part("1 %", "ranking_1"),
    _better(f"{_KEPT} the base", "loss", "untrained", "full", -MARGIN),
    _better(f"{_KEPT} stage I alone", "loss", "stage1_only", "full", -MARGIN),
)
