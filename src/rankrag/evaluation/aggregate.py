"""From lines to figures: means with intervals, what went wrong, time, and paired tests between systems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from pydantic import TypeAdapter, ValidationError

from rankrag.data.files import write_whole
from rankrag.errors import DataError
from rankrag.evaluation.calibration import Calibration, calibration
from rankrag.evaluation.description import RunDescription, SetDescription
from rankrag.evaluation.metrics import Interval, bootstrap_interval, gap_interval
from rankrag.evaluation.outcomes import OUTCOMES, Outcome
from rankrag.evaluation.questions import FILE_NAME as QUESTIONS
from rankrag.evaluation.questions import QuestionResult, Seconds, read_results
from rankrag.evaluation.statistics import Paired, compared, cost_ratio
from rankrag.evaluation.summary import Figures
from rankrag.evaluation.systems import System

FILE_NAME = "comparison.json"


@dataclass(frozen=True, slots=True)
class SystemFigures:
    """One system on one set: figures in its final order and in the first stage's, outcomes, mean times.

    The outcomes add up to `questions`; `cost` is the paper's N·t2/(t1+t3), None without times or without a ranker.
    `gap` is the share of the reachable gap that reranking closes by the set's metric (`metrics.gap_closed`).
    """

    benchmark: str
    system: str
    questions: int
    figures: Figures
    first: Figures
    outcomes: dict[Outcome, int]
    seconds: Seconds
    cost: float | None
    reachable: float | None = None
    gap: Interval | None = None
    calibration: Calibration = field(default_factory=Calibration)


@dataclass(frozen=True, slots=True)
class PairFigures:
    """A system against the first one of the run, by one metric, on the same questions."""

    benchmark: str
    system: str
    against: str
    metric: str
    paired: Paired


@dataclass(frozen=True, slots=True)
class Comparison:
    """All figures of a run, with its description."""

    description: RunDescription
    systems: tuple[SystemFigures, ...]
    pairs: tuple[PairFigures, ...]

    def of(self, benchmark: str, system: str) -> SystemFigures | None:
        """Return the figures of a system on a set; None where they were not measured."""
        return next((f for f in self.systems if (f.benchmark, f.system) == (benchmark, system)), None)


def aggregated(run: Path, description: RunDescription) -> Comparison:
    """Return the figures of all lines in a run folder.

    `DataError` where a file does not hold exactly the questions that were asked: no question is lost in a total.
    """
    figures, pairs = [], []
    for of in description.sets:
        rows = {system.name: lines_of(run, of, system) for system in description.systems}
        figures += [
            _figures(found, of, system.on(of.paper)) for system in description.systems if (found := rows[system.name])
        ]
        first = description.systems[0].name
        for system in description.systems[1:]:
            pairs += _pairs(rows[system.name], rows[first])
    return Comparison(description, tuple(figures), tuple(pairs))


def lines_of(run: Path, of: SetDescription, system: System) -> list[QuestionResult]:
    """Return the lines of a system on a set, checked to be the questions that were asked, in their order."""
    path = run / of.folder / system.folder / QUESTIONS
    rows = read_results(path)
    if tuple(row.id for row in rows) != of.questions:
        raise DataError(
            f"{path}: holds {len(rows)} questions, {len(of.questions)} were asked; run rankrag evaluate again"
        )
    return rows


def save_comparison(comparison: Comparison, run: Path) -> Path:
    """Write the figures into the run folder in one step; return the path."""
    path = run / FILE_NAME
    write_whole(path, _COMPARISON.dump_json(comparison, indent=1).decode() + "\n")
    return path


def load_comparison(run: Path) -> Comparison:
    """Return the figures of a run folder; `DataError` where there are none."""
    path = run / FILE_NAME
    try:
        return _COMPARISON.validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path}: no comparison there ({error.strerror}); run rankrag evaluate CONFIG") from None
    except ValidationError as error:
        raise DataError(f"{path}: not a comparison ({error.error_count()} problems); run rankrag evaluate") from None


_COMPARISON = TypeAdapter(Comparison)


def _figures(rows: Sequence[QuestionResult], of: SetDescription, system: System) -> SystemFigures:
    counted = Counter(row.outcome for row in rows)
    seconds = Seconds(*(_mean([getattr(row.seconds, name) for row in rows]) for name in ("t1", "t2", "t3")))
    cost = None
    if seconds.t1 is not None and seconds.t2 is not None and seconds.t3 is not None:
        cost = cost_ratio(system.n, seconds.t1, seconds.t2, seconds.t3)
    best, gap = [row.reachable for row in rows if row.reachable is not None], None
    if len(best) == len(rows) and system.ranked_by[0] != "none":
        gap = gap_interval([row.first[of.metric] for row in rows], [row.metrics[of.metric] for row in rows], best)
    return SystemFigures(
        rows[0].benchmark,
        rows[0].system,
        len(rows),
        {name: bootstrap_interval([row.metrics[name] for row in rows]) for name in rows[0].metrics},
        {name: bootstrap_interval([row.first[name] for row in rows]) for name in rows[0].first},
        {name: counted[name] for name in OUTCOMES if counted[name]},
        seconds,
        cost,
        fmean(best) if len(best) == len(rows) else None,
        gap,
        calibration(rows),
    )


def _pairs(rows: Sequence[QuestionResult], against: Sequence[QuestionResult]) -> list[PairFigures]:
    shared = [name for name in rows[0].metrics if name in against[0].metrics] if rows and against else []
    return [
        PairFigures(
            rows[0].benchmark,
            rows[0].system,
            against[0].system,
            name,
            compared([row.metrics[name] for row in rows], [row.metrics[name] for row in against]),
        )
        for name in shared
    ]


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the times that were taken; None where none was."""
    taken = [value for value in values if value is not None]
    return fmean(taken) if taken else None
