"""The tables of the report (`tables.yaml`): what each of their cells shows, and which rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources

import yaml

from rankrag.evaluation.aggregate import Evaluation, SystemFigures
from rankrag.evaluation.line_metrics import LINE_METRICS
from rankrag.evaluation.lines import OUTCOMES
from rankrag.evaluation.metrics import ANSWER_METRICS, RANKING_METRICS

Cell = Callable[[SystemFigures], str]


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A part of the report: rows of all systems with one of `roles`, if `shows` (a name in `SHOWS`) says so."""

    title: str
    roles: Sequence[str]
    columns: Sequence[str | Mapping[str, str]]
    text: str = ""
    shows: str = "all"

    def render(self, evaluation: Evaluation) -> str:
        """Return the table with its text; equal rows are shown once, and nothing without rows."""
        columns, shows = dict(_cells(self.columns)), SHOWS[self.shows]
        rows = [row for row in evaluation.all(*self.roles) if shows(row)]
        cells = [(row.of_set.title, *(cell(row) for cell in columns.values())) for row in rows]
        meanings = "\n".join(f"- **{kind}**: {meaning}" for kind, meaning in OUTCOMES.items())
        text = "\n\n".join(filter(None, (self.title, self.text.replace("{outcomes}", meanings))))
        return section(text, ["set", *columns], dict.fromkeys(cells))


def section(text: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a text with a table below it; columns without values are left out, and everything without rows."""
    table = [list(row) for row in rows]
    if not table:
        return ""
    kept = [place for place in range(len(header)) if any(row[place] for row in table)]
    lines = ["| " + " | ".join(row[place] for place in kept) + " |" for row in (list(header), *table)]
    return "\n".join([text, "", lines[0], "|" + "---|" * len(kept), *lines[1:]])


def _cells(columns: Iterable[str | Mapping[str, str]]) -> Iterator[tuple[str, Cell]]:
    """Yield header and cell of each column, "every …" column by column; what is no cell of ours is a metric."""
    for header, name in map(_header_and_name, columns):
        if name in _EVERY:
            names, cell = _EVERY[name]
            yield from ((one, partial(cell, name=one)) for one in names())
        else:
            yield header, CELLS.get(name) or partial(_shown, name=name)


def _header_and_name(column: str | Mapping[str, str]) -> tuple[str, str]:
    return (column, column) if isinstance(column, str) else next(iter(column.items()))


def _shown(row: SystemFigures, name: str) -> str:
    """Return a metric of the final order or of answers; "" if it was not measured."""
    return str(row.figures.get(name, ""))


def _before(row: SystemFigures, name: str) -> str:
    """Return a ranking metric in the first stage's order; "" if it was not measured."""
    return str(row.first.get(name, ""))


def _outcome(row: SystemFigures, name: str) -> str:
    """Return the share of the questions that ended so, and their number."""
    count = sum(count for kind, count in row.outcomes.items() if kind == name)
    return f"{count / row.questions:.1%} ({count})" if count else ""


def _added() -> list[str]:
    """Return the line metrics that no column is named after: those that somebody added."""
    named = {word for table in TABLES for column in table.columns for word in _header_and_name(column)}
    return [name for name in LINE_METRICS if name not in named]


_EVERY: Mapping[str, tuple[Callable[[], Iterable[str]], Callable[..., str]]] = {
    "every ranking metric": (RANKING_METRICS.keys, _shown),
    "every ranking metric before": (RANKING_METRICS.keys, _before),
    "every answer metric": (ANSWER_METRICS.keys, _shown),
    "every added metric": (_added, _shown),
    "every outcome": (OUTCOMES.keys, _outcome),
}
"""Columns of which there may be more (`answer_metric`, `line_metric`)."""


def _number(value: float | None, form: str = ".3f") -> str:
    return "" if value is None else f"{value:{form}}"


def _seconds(row: SystemFigures, step: str) -> str:
    typical, slow = (getattr(times, step) for times in (row.typical, row.slow))
    return "" if typical is None else f"{typical:.3f} ({slow:.3f})"


def _most_lost(row: SystemFigures) -> str:
    lost = {kind: count for kind, count in row.outcomes.items() if kind != "right"}
    return max(lost, key=lambda kind: lost[kind], default="")


def _first_answer_metric(row: SystemFigures) -> str:
    name = next((name for name in ANSWER_METRICS if name in row.figures), "")
    return f"{name} {_shown(row, name)}" if name else ""


CELLS: Mapping[str, Cell] = {
    "system": lambda row: row.system.name,
    "questions": lambda row: str(row.questions),
    "first stage": lambda row: row.first_stage,
    "candidates": lambda row: "all" if row.system.role == "first stage" else f"N = {row.system.n}",
    "ranked first stage": lambda row: row.of_set.first_stage or row.system.first_stage,
    "metric": lambda row: row.of_set.metric,
    "before": lambda row: _before(row, row.of_set.metric),
    "reranked": lambda row: _shown(row, row.of_set.metric),
    "reachable": lambda row: _number(row.reachable),
    "gap closed": lambda row: str(row.gap or ""),
    "answerable": lambda row: "no" if row.of_set.unanswerable else "yes",
    "passages": lambda row: f"{row.calibration.passages:,}",
    "ECE": lambda row: _number(row.calibration.ece),
    "answers": lambda row: f"{row.calibration.answers:,}",
    "wrong": lambda row: _number(row.calibration.wrong),
    "AURC": lambda row: _number(row.calibration.aurc),
    "stops at": lambda row: "all are judged" if row.system.settled_from is None else str(row.system.settled_from),
    "judged of n": lambda row: f"{row.figures['judged'].mean:.1f} of {row.system.n}",
    "same": lambda row: _number(row.same_contexts, ".2f"),
    "first answer metric": _first_answer_metric,
    "most are lost as": _most_lost,
    **{step: partial(_seconds, step=step) for step in ("t1", "t2", "t3")},
    "N·t2/(t1+t3)": lambda row: _number(row.cost, ".1f"),
}
"""What a column shows, by its name."""

SHOWS: Mapping[str, Callable[[SystemFigures], bool]] = {
    "all": lambda _: True,
    "retrieved": lambda row: bool(row.first),
    "reranked": lambda row: row.system.ranks and bool(row.first),
    "reranked by the set's metric": lambda row: row.system.ranks and row.of_set.metric in row.first,
    "answered": lambda row: "refused" in row.figures,
    "answered from passages": lambda row: "refused" in row.figures and not row.system.closed_book,
    "cited": lambda row: "citation recall" in row.figures,
    "judged": lambda row: bool(row.calibration.passages or row.calibration.answers),
    "timed": lambda row: any(_seconds(row, step) for step in ("t1", "t2", "t3")),
}
"""Which rows a table shows, by the name of the rule."""

TABLES = tuple(
    ReportTable(**one)
    for one in yaml.safe_load(resources.files("rankrag.evaluation").joinpath("tables.yaml").read_text(encoding="utf-8"))
)
"""The tables of the report, in their order."""
