"""The paper's numbers.

`paper_numbers.json` is the one place that holds what arXiv 2407.02485v1 prints: every cell of its tables with results,
what its figures say in words, and the mistakes that are known. How each set was measured stands in `data/sets.yaml`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

from pydantic import TypeAdapter

from rankrag.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table with the metrics that its cells hold, in their order."""

    name: str
    metrics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table: percentages by column, one for each of the column's metrics; None where one is not printed."""

    model: str
    group: str
    cells: dict[str, tuple[float | None, ...]]


@dataclass(frozen=True, slots=True)
class KnownError:
    """A mistake of the paper; `row` and `column` say where, "" is all of them."""

    text: str
    row: str = ""
    column: str = ""


@dataclass(frozen=True, slots=True)
class PaperTable:
    """One table of the paper; `cell` is its number there."""

    cell: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    errors: tuple[KnownError, ...]
    notes: tuple[str, ...]

    def value(self, model: str, column: str, metric: str) -> float | None:
        """Return a printed percentage; None where the paper prints none."""
        metrics = next((c.metrics for c in self.columns if c.name == column), ())
        row = next((r for r in self.rows if r.model == model), None)
        cell = row.cells.get(column, ()) if row else ()
        return dict(zip(metrics, cell, strict=False)).get(metric)

    def known_error(self, row: str, column: str) -> bool:
        """Whether a cell is in doubt."""
        return any(e.row in ("", row) and e.column in ("", column) for e in self.errors)


@dataclass(frozen=True, slots=True)
class PaperFigure:
    """One figure of the paper: what it shows against what, on which sets (none: not said), and what it prints."""

    cell: str
    title: str
    x: str
    metric: str
    sets: tuple[str, ...]
    printed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PaperNumbers:
    """All that the paper prints of results."""

    source: str
    tables: dict[str, PaperTable]
    figures: dict[str, PaperFigure]


@cache
def paper_numbers() -> PaperNumbers:
    """Return the data file as values."""
    text = resources.files("rankrag.evaluation").joinpath("paper_numbers.json").read_bytes()
    return TypeAdapter(PaperNumbers).validate_json(text)


def paper_table(name: str) -> PaperTable:
    """Return a table by its name, such as "table2"; `ConfigError` lists what there is."""
    numbers = paper_numbers()
    if name not in numbers.tables:
        raise ConfigError(f"{name}: not known; choose {', '.join((*numbers.tables, *numbers.figures))}")
    return numbers.tables[name]
