"""From lines to figures: means with intervals, outcomes, times, and paired tests between systems.

From Python::

    evaluation = read_results(Path("runs/results"))
    evaluation.of("squad", "rankrag-mini").figures["EM"]      # an Interval
    evaluation.lines("squad", "rankrag-mini")[0].answer       # of one question
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import numpy as np

from rankrag.errors import DataError
from rankrag.evaluation.calibration import Calibration, calibration
from rankrag.evaluation.description import RunDescription, SetDescription, load_description
from rankrag.evaluation.lines import FILE_NAME as LINES
from rankrag.evaluation.lines import OUTCOMES, Outcome, QuestionLine, Seconds, read_question_lines
from rankrag.evaluation.statistics import (
    Interval,
    bootstrap_interval,
    cost_ratio,
    gap_interval,
    paired_difference,
    permutation_p,
)
from rankrag.evaluation.systems import GIVEN, System

Figures = dict[str, Interval]
"""By metric."""


@dataclass(frozen=True, slots=True)
class SystemFigures:
    """One system on one set.

    Attributes:
        of_set: the set.
        system: the system, as it is on this set.
        questions: how many were asked.
        figures: metrics in the final order; each is over the questions that have it.
        first: ranking metrics in the first stage's order.
        outcomes: questions by outcome, which add up to `questions`.
        typical: median seconds of a question.
        slow: their 90th percentile.
        cost: the paper's N·t2/(t1+t3) of the typical seconds.
        reachable: the set's metric for a perfect order of the candidates.
        gap: share of the reachable gap that reranking closes by the set's metric.
        calibration: how far its scores can be believed.
        same_contexts: share of questions that read the same passages as in the system it is tested against.
    """

    of_set: SetDescription
    system: System
    questions: int
    figures: Figures
    first: Figures
    outcomes: dict[Outcome, int]
    typical: Seconds
    slow: Seconds
    cost: float | None = None
    reachable: float | None = None
    gap: Interval | None = None
    calibration: Calibration = field(default_factory=Calibration)
    same_contexts: float | None = None

    @property
    def first_stage(self) -> str:
        """The first stage in words, with the turns that a conversation was searched by."""
        given = f"{self.of_set.first_stage} (given)" if self.of_set.first_stage else self.system.first_stage
        return f"{given}, turns: {self.system.history_query}" if self.of_set.style == "conversation" else given


@dataclass(frozen=True, slots=True)
class PairFigures:
    """A system less another one by one metric, on the same questions: the mean difference, and p of no difference."""

    of_set: SetDescription
    system: str
    against: str
    metric: str
    difference: Interval
    p: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All figures of a run, with its description."""

    run: Path
    description: RunDescription
    systems: tuple[SystemFigures, ...]
    pairs: tuple[PairFigures, ...]

    def of(self, benchmark: str, system: str) -> SystemFigures | None:
        """Return the figures of a system on a set; None if it took no part."""
        return next((f for f in self.systems if (f.of_set.name, f.system.name) == (benchmark, system)), None)

    def lines(self, benchmark: str, system: str) -> list[QuestionLine]:
        """Return the lines of a system on a set; none if it took no part."""
        found = self.of(benchmark, system)
        return lines_of(self.run, found.of_set, found.system) if found else []

    def all(self, *roles: str) -> list[SystemFigures]:
        """Return the figures of all systems with one of these roles, set by set."""
        return [figures for figures in self.systems if figures.system.role in roles]


def read_results(run: Path) -> Evaluation:
    """Return the figures of all lines in a run folder.

    `DataError` if a file does not hold exactly the questions that were asked: no question is lost in a total.
    """
    description = load_description(run)
    figures: list[SystemFigures] = []
    pairs: list[PairFigures] = []
    for of_set in description.sets:
        systems = description.systems_of(of_set)
        lines = {system.name: lines_of(run, of_set, system) for system in systems}
        for system in (system for system in systems if lines[system.name]):
            own, other = lines[system.name], lines.get(_against(system, systems), [])
            figures.append(_figures(own, of_set, system, other))
            if system.role == "compared" and [line.id for line in own] == [line.id for line in other]:
                pairs += _pairs(of_set, own, other)
    return Evaluation(run, description, tuple(figures), tuple(pairs))


def lines_of(run: Path, of_set: SetDescription, system: System) -> list[QuestionLine]:
    """Return the lines of a system on a set, checked to be the questions that were asked, in their order."""
    path = run / of_set.folder / system.folder / LINES
    lines = read_question_lines(path)
    asked, found = of_set.questions, tuple(line.id for line in lines)
    if system.retriever in GIVEN:  # a question without its gold passage is not read
        asked = tuple(name for name in asked if name in set(found))
    if (len(found) != of_set.size) if system.role == "first stage" else (found != asked):
        wanted = of_set.size if system.role == "first stage" else len(asked)
        raise DataError(f"{path}: holds {len(found)} questions, {wanted} were asked; run rankrag evaluate again")
    return lines


def _against(system: System, systems: Sequence[System]) -> str:
    """Return the name of the system that this one is tested against; "" for the first one."""
    return system.against or (systems[0].name if system.name != systems[0].name else "")


def _figures(
    lines: Sequence[QuestionLine], of_set: SetDescription, system: System, other: Sequence[QuestionLine]
) -> SystemFigures:
    counted = Counter(line.outcome for line in lines)
    typical = _seconds(lines, 50)
    best, gap = [line.reachable for line in lines if line.reachable is not None], None
    if len(best) == len(lines) and system.ranks:
        metric = of_set.metric
        gap = gap_interval([line.first[metric] for line in lines], [line.metrics[metric] for line in lines], best)
    read = {line.id: set(line.contexts) for line in other}
    same = [float(set(line.contexts) == read[line.id]) for line in lines if line.id in read]
    return SystemFigures(
        of_set=of_set,
        system=system,
        questions=len(lines),
        figures=_means([line.metrics for line in lines]),
        first=_means([line.first for line in lines]),
        outcomes={name: counted[name] for name in OUTCOMES if counted[name]},
        typical=typical,
        slow=_seconds(lines, 90),
        cost=cost_ratio(system.n, typical),
        reachable=fmean(best) if len(best) == len(lines) else None,
        gap=gap,
        calibration=calibration(lines),
        same_contexts=fmean(same) if same else None,
    )


def _means(rows: Sequence[dict[str, float]]) -> Figures:
    """Return the mean of each metric with its interval, over the questions that have it."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: bootstrap_interval([row[name] for row in rows if name in row]) for name in names}


def _pairs(
    of_set: SetDescription, lines: Sequence[QuestionLine], other: Sequence[QuestionLine]
) -> Iterator[PairFigures]:
    """Yield the paired tests of the metrics that every question of both systems has."""
    for name in lines[0].metrics:
        if all(name in line.metrics for line in (*lines, *other)):
            values = [line.metrics[name] for line in lines], [line.metrics[name] for line in other]
            difference, p = paired_difference(*values), permutation_p(*values)
            yield PairFigures(of_set, lines[0].system, other[0].system, name, difference, p)


def _seconds(lines: Sequence[QuestionLine], percentile: int) -> Seconds:
    """Return a percentile of each time that was taken."""
    columns = [[getattr(line.seconds, name) for line in lines] for name in ("t1", "t2", "t3")]
    taken = [[value for value in column if value is not None] for column in columns]
    return Seconds(*(float(np.percentile(column, percentile)) if column else None for column in taken))
