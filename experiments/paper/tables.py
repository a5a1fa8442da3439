"""The tables of the paper with our systems in rows below."""

from __future__ import annotations

from collections.abc import Sequence

from experiments.paper.beside import column_of, differences, measured, ours_of, points
from experiments.paper.numbers import Column, PaperRow, PaperTable, paper_table
from rankrag.evaluation.aggregate import Evaluation
from rankrag.evaluation.systems import System
from rankrag.evaluation.tables import section


def render_table(name: str, evaluations: Sequence[Evaluation]) -> str:
    """Return a table of the paper as Markdown, with a row for each of our systems and in what it differs."""
    table = paper_table(name)
    ranking = table.columns[0].metrics[0].startswith("R@")
    header = ["", *(f"{c.name} {'/'.join(c.metrics)}" for c in table.columns)]
    rows = [*_printed_rows(table, ranking=ranking), *_our_rows(table, evaluations, ranking=ranking)]
    parts = [section(f"# {table.cell}: {table.title}", header, rows)]
    if table.errors:
        parts.append("\n".join(f"† {error.text}." for error in table.errors))
    parts += ["\n".join(table.notes)] if table.notes else []
    if notes := _what_differs(table, evaluations):
        parts.append("What differs from the paper in our rows (the paper's value in brackets):")
        parts.append("\n".join(f"- {name}: {'; '.join(found)}." for name, found in notes.items()))
    return "\n\n".join(parts) + "\n"


def _printed_rows(table: PaperTable, *, ranking: bool) -> list[list[str]]:
    """Return the rows of the paper; the name of a group is in a row of its own, or behind that of a retriever."""
    rows, group = [], ""
    for row in table.rows:
        if row.group and row.group != group and not ranking:
            rows.append([f"*{row.group}*", *[""] * len(table.columns)])
        group = row.group
        label = f"{row.model} ({row.group})" if ranking and row.group else row.model
        rows.append([label, *(_printed(table, row, column) for column in table.columns)])
    return rows


def _printed(table: PaperTable, row: PaperRow, column: Column) -> str:
    """Return a cell as the paper prints it, marked if it is in doubt."""
    values = row.cells.get(column.name, ())
    mark = "†" if values and table.known_error(row.model, column.name) else ""
    return "/".join("-" if value is None else _percent(value) for value in values) + mark


def _percent(value: float) -> str:
    """Return a printed number with the decimals that the paper prints."""
    return f"{value:.2f}" if value == round(value, 2) != round(value, 1) else f"{value:.1f}"


def _our_rows(table: PaperTable, evaluations: Sequence[Evaluation], *, ranking: bool) -> list[list[str]]:
    """Return a row for each system with a figure in this table; in tables of rankings one for its first stage too."""
    rows = []
    for evaluation in evaluations:
        for system in evaluation.description.systems:
            for first in (True, False) if ranking else (False,):
                cells = [_ours(evaluation, system, c, first=first) for c in table.columns]
                if any(cells):
                    searched = system.first_stage if system.setting == "own" else "first stage"
                    name = f"{system.name}, {searched} alone" if first else system.name
                    rows.append([f"**{name}** (ours)", *cells])
    return rows


def _ours(evaluation: Evaluation, system: System, column: Column, *, first: bool) -> str:
    """Return our cell of a column; if it holds several sets, their titles tell them apart."""
    cells = []
    sets = [described for described in evaluation.description.sets if column_of(described.name) == column.name]
    for described in sets:
        figures = evaluation.of(described.name, system.name)
        values = [ours_of(figures, metric, first=first) for metric in column.metrics] if figures else []
        if any(value is not None for value in values):
            text = "/".join("-" if value is None else points(value) for value in values)
            cells.append(text if len(sets) == 1 else f"{text} ({described.title})")
    return ", ".join(cells)


def _what_differs(table: PaperTable, evaluations: Sequence[Evaluation]) -> dict[str, tuple[str, ...]]:
    wanted = {c.name for c in table.columns}
    found = {
        f"{described.title}, {system.name}": differences(described, system)
        for evaluation in evaluations
        for described, system, _ in measured(evaluation)
        if column_of(described.name) in wanted
    }
    return {name: differs for name, differs in found.items() if differs}
