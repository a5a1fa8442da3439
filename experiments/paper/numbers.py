"""The paper's numbers, from `paper_numbers.json`.

That file alone holds what arXiv 2407.02485v1 prints: every cell of its tables with results, what its figures show in
words, and its known mistakes. How the paper measured each set is in `rankrag.data.fourteen`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

from pydantic import TypeAdapter

from rankrag.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table, with the metrics of its cells in their order."""

    name: str
    metrics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PaperRow:
    """A row of a table: percentages by column, one for each metric of the column; None if it is not printed."""

    model: str
    group: str
    cells: dict[str, tuple[float | None, ...]]


@dataclass(frozen=True, slots=True)
class KnownError:
    """A mistake of the paper in `row` and `column`; an empty name means all of them."""

    text: str
    row: str = ""
    column: str = ""


@dataclass(frozen=True, slots=True)
class PaperTable:
    """One table of the paper; `cell` is its number there."""

    cell: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[PaperRow, ...]
    errors: tuple[KnownError, ...]
    notes: tuple[str, ...]

    def value(self, model: str, column: str, metric: str) -> float | None:
        """Return a printed percentage; None if the paper does not print it."""
        metrics = next((c.metrics for c in self.columns if c.name == column), ())
        row = next((r for r in self.rows if r.model == model), None)
        cell = row.cells.get(column, ()) if row else ()
        return dict(zip(metrics, cell, strict=False)).get(metric)

    def known_error(self, row: str, column: str) -> bool:
        """Whether a cell is in doubt."""
        return any(e.row in ("", row) and e.column in ("", column) for e in self.errors)


@dataclass(frozen=True, slots=True)
class PaperFigure:
    """One figure of the paper: axes, sets (none if the paper does not name them), and what it shows in words."""

    cell: str
    title: str
    x: str
    metric: str
    sets: tuple[str, ...]
    printed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PaperNumbers:
    """All results that the paper prints."""

    source: str
    tables: dict[str, PaperTable]
    figures: dict[str, PaperFigure]


@cache
def paper_numbers() -> PaperNumbers:
    """Return the content of the data file."""
    text = resources.files("experiments.paper").joinpath("paper_numbers.json").read_bytes()
    return TypeAdapter(PaperNumbers).validate_json(text)


def paper_table(name: str) -> PaperTable:
    """Return a table by its name, such as "table2"; `ConfigError` lists the names."""
    numbers = paper_numbers()
    if name not in numbers.tables:
        raise ConfigError(f"{name}: not known; choose {', '.join((*numbers.tables, *numbers.figures))}")
    return numbers.tables[name]


_IN_THE_ABLATION = {
    "RankRAG 8B": "RankRAG 8B",
    "w/o reranking": "w/o reranking at test",
    "w/o RQA": "w/o RQA data",
    "w/o RAR": "w/o RAR data",
    "RAFT-style": "RAFT-style (each passage alone, RA-DIT)",
    "Stage-I only": "Stage-I only",
}
"""Rows of table 3, by our short names for them."""


def _first_figures(printed: str) -> tuple[float, ...]:
    table = paper_table("table3")
    values = (table.value(printed, column.name, column.metrics[0]) for column in table.columns if column.name != "Avg")
    return tuple(value for value in values if value is not None)


TABLE_3 = {row: _first_figures(printed) for row, printed in _IN_THE_ABLATION.items()}
"""By row, the first figure of each of the nine sets: EM, accuracy for FEVER, F1 for conversations."""


def mean_of_nine(row: str) -> float:
    """Return the mean over the sets, computed: the last column of the paper does not follow one formula."""
    return sum(TABLE_3[row]) / len(TABLE_3[row])
