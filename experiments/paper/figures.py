"""The figures of the paper, made from our runs. The paper prints none of their values, so its part is in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.paper.beside import column_of, measured, ours_of, points
from experiments.paper.numbers import PaperFigure, paper_numbers
from rankrag.errors import ConfigError, DataError, MissingExtraError
from rankrag.evaluation.aggregate import Evaluation, SystemFigures
from rankrag.evaluation.statistics import Interval
from rankrag.evaluation.systems import System

ADVICE = {
    "k": "compare systems that differ in k alone",
    "retriever": "compare systems with several retrievers",
    "ranking_pairs": "compare models that name their ranking_pairs",
    "cost": "compare systems with rerankers that differ in n",
}
"""What a run needs for each kind of figure."""


@dataclass(frozen=True, slots=True)
class Point:
    """One system on one set: its x (a number or a name), its figure, and its label."""

    x: Any
    y: Interval
    label: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one set and of systems that differ only in x."""

    name: str
    points: tuple[Point, ...]


def paper_figure(name: str) -> PaperFigure:
    """Return a figure by its name, such as "figure5"; `ConfigError` lists the names."""
    numbers = paper_numbers()
    if name not in numbers.figures:
        raise ConfigError(f"{name}: not known; choose {', '.join((*numbers.tables, *numbers.figures))}")
    return numbers.figures[name]


def series_of(name: str, evaluations: Sequence[Evaluation]) -> tuple[Series, ...]:
    """Return the series of a figure in these runs; a series has two points or more.

    Figure 1 shows systems that do not rerank, figures 4 to 6 those that do, figure 3 both.
    """
    figure = paper_figure(name)
    found: dict[str, list[Point]] = {}
    for evaluation in evaluations:
        for described, system, figures in measured(evaluation):
            column, own = column_of(described.name), system.on(described.paper)
            if not column or (figure.sets and column not in figure.sets) or not _belongs(name, system):
                continue
            y, x = _value(figures, figure), _x(figure.x, own, described.first_stage or own.first_stage, figures)
            if x is not None and y is not None:
                label = f"N = {own.n}" if figure.x == "cost" else ""
                found.setdefault(_series_name(figure, described.title, own), []).append(Point(x, y, label))
    rows = (Series(title, tuple(sorted(points, key=lambda p: p.x))) for title, points in found.items())
    return tuple(row for row in rows if len(row.points) > 1)


def render_figure(name: str, series: Sequence[Series]) -> str:
    """Return a figure as Markdown: the words of the paper, then our points."""
    figure = paper_figure(name)
    lines = [f"# {figure.cell}: {figure.title}", "", *figure.printed, ""]
    if not series:
        return "\n".join([*lines, f"No points of ours yet: {ADVICE[figure.x]}."]) + "\n"
    lines += [f"| ours | {_AXES[figure.x]} | {figure.metric} |", "|---|---|---|"]
    for row in series:
        for point in row.points:
            x = point.x if isinstance(point.x, str) else f"{point.x:g}"
            lines.append(f"| {row.name} | {x}{f' ({point.label})' if point.label else ''} | {points(point.y)} |")
    return "\n".join(lines) + "\n"


def plot_figure(name: str, series: Sequence[Series], path: Path) -> Path:
    """Draw a figure into a file; its ending says the format (.svg, .png, .pdf). `DataError` without points."""
    figure = paper_figure(name)
    if not series:
        raise DataError(f"{figure.cell}: these runs hold no points for it; {ADVICE[figure.x]}")
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("figures need matplotlib; install it with: pip install matplotlib") from None
    canvas = Figure(figsize=(7, 4.2), layout="constrained")
    _draw(canvas.subplots(), figure, series)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        canvas.savefig(path)
    except ValueError as error:
        raise ConfigError(f"{path}: no such format ({error}); end the name in .svg, .png or .pdf") from None
    return path


def _draw(axes: Any, figure: PaperFigure, series: Sequence[Series]) -> None:
    for row in series:
        x = [point.x for point in row.points]
        y = [100 * point.y.mean for point in row.points]
        below = [100 * (point.y.mean - point.y.low) for point in row.points]
        above = [100 * (point.y.high - point.y.mean) for point in row.points]
        axes.errorbar(x, y, yerr=[below, above], marker="o", capsize=3, label=row.name)
        for point, place in zip(row.points, y, strict=True):
            axes.annotate(point.label, (point.x, place), textcoords="offset points", xytext=(6, 6), fontsize=8)
    axes.set_xlabel(_AXES[figure.x])
    axes.set_ylabel(f"{figure.metric} (%)")
    axes.set_title(f"{figure.title} (as in {figure.cell.lower()})", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, frameon=False)


_AXES = {
    "k": "k, passages that are answered from",
    "retriever": "first stage",
    "ranking_pairs": "ranking pairs in training",
    "cost": "time that reranking adds, N·t2/(t1+t3)",
}


def _value(figures: SystemFigures, figure: PaperFigure) -> Interval | None:
    """Return our value for the metric of the figure; FEVER has accuracy instead."""
    return ours_of(figures, "Acc" if column_of(figures.of_set.name) == "FEVER" else figure.metric)


def _x(axis: str, system: System, first_stage: str, figures: SystemFigures) -> float | str | None:
    if axis == "cost":
        return figures.cost
    if axis == "retriever":
        return None if system.retriever == "none" else first_stage
    return {"k": system.k, "ranking_pairs": system.ranking_pairs}[axis]


def _belongs(name: str, system: System) -> bool:
    reranks = system.ranked_by[0] != "none"
    if name == "figure1":
        return not reranks and system.retriever != "none"
    return name == "figure3" or reranks


def _series_name(figure: PaperFigure, title: str, system: System) -> str:
    """Return the set with everything of the system that the x axis does not show."""
    ranker = {"none": "no rerank", "model": "RankRAG"}.get(system.ranker, system.ranker)
    parts = [title, ranker]
    if figure.x != "ranking_pairs":
        parts.append(system.model)
    if figure.x != "retriever":
        parts.append(system.first_stage)
    return ", ".join(parts)
