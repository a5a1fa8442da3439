"""The report as one HTML file: tables, plots, and every question to browse. It opens from disk and loads nothing else.

Passages and answers are foreign text. They are in the file as JSON that holds no `<`, and the page's script inserts
them as text, never as markup. Questions and passages are in chunks that are only parsed when they are looked at, so
that ten thousand questions open at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from markdown_it import MarkdownIt

from rankrag.data.files import write_whole
from rankrag.evaluation.aggregate import Evaluation, SystemFigures
from rankrag.evaluation.calibration import (
    area_under_risk,
    confidence_pairs,
    expected_calibration_error,
    relevance_pairs,
    reliability,
    risk_coverage,
)
from rankrag.evaluation.charts import interval_plot, line_plot, outcome_bars
from rankrag.evaluation.description import SetDescription
from rankrag.evaluation.lines import QuestionLine, read_kept_passages
from rankrag.evaluation.metrics import ANSWER_METRICS
from rankrag.evaluation.outcomes import OUTCOMES
from rankrag.evaluation.report import render_report
from rankrag.evaluation.systems import System
from rankrag.types import Passage

QUESTIONS_AT_ONCE = 250
PASSAGES_AT_ONCE = 500
"""Rows of one chunk."""


@dataclass(frozen=True, slots=True)
class _Column:
    """A system on a set: the numbers of both in the page, and its lines."""

    of_set: SetDescription
    set_number: int
    system: System
    system_number: int
    lines: list[QuestionLine]


def write_page(evaluation: Evaluation, path: Path) -> Path:
    """Write the page of a run; return its path."""
    columns = _columns(evaluation)
    systems = list(dict.fromkeys(column.system.name for column in columns))
    parts = {
        "style": _resource("page.css"),
        "script": _resource("page.js"),
        "overview": _overview(evaluation, columns),
        "index": _embedded("index", _index(evaluation, columns, systems)),
        "chunks": "\n".join(_all_chunks(evaluation, columns)),
        "title": escape(", ".join(systems)),
    }
    before, *rest = _resource("page.html").split("{{")
    write_whole(path, before + "".join(parts[name] + after for name, _, after in (p.partition("}}") for p in rest)))
    return path


def as_html(markdown: str) -> str:
    """Return the report's Markdown as HTML; it may hold foreign names, so links and images stay text."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["link", "image", "autolink"])
    return (
        str(parser.render(markdown)).replace("<table>", "<div class=wide><table>").replace("</table>", "</table></div>")
    )


def _columns(evaluation: Evaluation) -> list[_Column]:
    """Return the systems that can be browsed: all that are compared."""
    names = [system.name for system in evaluation.description.systems if system.role == "compared"]
    sets = {s.name: number for number, s in enumerate(evaluation.description.sets)}
    return [
        _Column(s, sets[s.name], system, names.index(system.name), evaluation.lines(s.name, system.name))
        for s, system, _ in evaluation.all("compared")
    ]


def _index(evaluation: Evaluation, columns: Sequence[_Column], systems: Sequence[str]) -> dict[str, Any]:
    """Return what lists and filters need of every question."""
    kinds = list(OUTCOMES)
    sets = evaluation.description.sets
    by_place = {(column.set_number, column.system_number): column.system.k for column in columns}
    return {
        "sets": [s.title for s in sets],
        "systems": systems,
        "k": [[by_place.get((s, c)) for c in range(len(systems))] for s in range(len(sets))],
        "outcomes": [[kind, OUTCOMES[kind]] for kind in kinds],
        "chunk": {"questions": QUESTIONS_AT_ONCE, "passages": PASSAGES_AT_ONCE},
        "rows": [
            [column.set_number, column.system_number, line.id, line.question, kinds.index(line.outcome)]
            for column in columns
            for line in column.lines
        ],
    }


def _all_chunks(evaluation: Evaluation, columns: Sequence[_Column]) -> Iterator[str]:
    for number, s in enumerate(evaluation.description.sets):
        passages = read_kept_passages(evaluation.run / s.folder)
        place = {name: i for i, name in enumerate(passages)}
        yield from _chunks(f"p{number}", [_passage(p) for p in passages.values()], PASSAGES_AT_ONCE)
        for column in (column for column in columns if column.set_number == number):
            details = [_detail(line, place) for line in column.lines]
            yield from _chunks(f"q{number}.{column.system_number}", details, QUESTIONS_AT_ONCE)


def _passage(passage: Passage) -> list[str]:
    return [passage.id, passage.title, passage.text]


def _detail(line: QuestionLine, place: Mapping[str, int]) -> dict[str, Any]:
    """Return what is shown of a question, passages by their places; empty values are left out."""
    found = {
        "h": line.history,
        "ga": line.gold_answers,
        "g": [place[i] for i in line.gold if i in place],
        "r": [place[i] for i in line.retrieved],
        "o": [place[i] for i in line.reranked] if line.reranked != line.retrieved else None,
        "p": [round(p, 4) for p in line.p_true if p is not None],
        "a": line.answer,
        "m": {name: round(value, 4) for name, value in line.metrics.items()},
        "f": {name: round(value, 4) for name, value in line.first.items()},
        "t": [line.seconds.t1, line.seconds.t2, line.seconds.t3],
        "e": line.error,
    }
    return {name: value for name, value in found.items() if value not in (None, (), [], {})}


def _chunks(name: str, rows: Sequence[Any], size: int) -> Iterator[str]:
    for start in range(0, len(rows), size):
        yield _embedded(f"{name}.{start // size}", rows[start : start + size])


def _embedded(name: str, value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{text}</script>'


def _resource(name: str) -> str:
    return resources.files("rankrag.evaluation").joinpath(name).read_text(encoding="utf-8")


def _overview(evaluation: Evaluation, columns: Sequence[_Column]) -> str:
    """Return the plots, then the tables of the Markdown report."""
    shown = [f for _, _, f in evaluation.all("compared")]
    legend = "".join(
        f'<li><span class="swatch b{number}"></span><b>{kind}</b> {escape(meaning)}</li>'
        for number, (kind, meaning) in enumerate(OUTCOMES.items())
        if any(kind in f.outcomes for f in shown)
    )
    plots = []
    for s in evaluation.description.sets:
        figures = [f for one, _, f in evaluation.all("compared") if one is s]
        first = next((column.lines for column in columns if column.of_set is s), [])
        bars, squares = "".join(_bars(s, figures)), _reliability(first) + _risk(first)
        plots.append(
            f"<section><h2>{escape(s.title)}</h2><div class=plots><div>{bars}</div>"
            f"<div class=squares>{squares}</div></div></section>"
        )
    return f"<ul class=legend>{legend}</ul>{''.join(plots)}<div class=tables>{as_html(render_report(evaluation))}</div>"


def _bars(s: SetDescription, figures: Sequence[SystemFigures]) -> Iterator[str]:
    """Yield the plots of a set: its ranking metric, the first of its answer metrics, and the outcomes."""
    names = {name for f in figures for name in f.figures}
    answers = next((name for name in ANSWER_METRICS if name in names), "")
    for metric in dict.fromkeys((s.metric, answers)):
        if metric in names:
            yield interval_plot([(f.system, f.figures[metric]) for f in figures if metric in f.figures], metric)
    yield outcome_bars([(f.system, f.outcomes) for f in figures], "What became of the questions")


def _reliability(lines: Sequence[QuestionLine]) -> str:
    """Return how often passages of a P(True) are gold, for the set's first system; nothing without P(True)."""
    pairs = relevance_pairs(lines)
    if not pairs:
        return ""
    error = expected_calibration_error(pairs)
    caption = f"{lines[0].system}: passages by P(True), and the share of them that is gold (ECE {error:.3f})"
    points = [(one.confidence, one.accuracy) for one in reliability(pairs)]
    return line_plot(points, caption, "P(True)", "gold", diagonal=True)


def _risk(lines: Sequence[QuestionLine]) -> str:
    """Return what abstaining by the best P(True) would buy, for the set's first system; nothing without answers."""
    pairs = confidence_pairs(lines)
    if not pairs:
        return ""
    curve = risk_coverage(pairs)
    caption = f"{lines[0].system}: wrong answers when only the surest are given (area {area_under_risk(curve):.3f})"
    return line_plot([(one.coverage, one.risk) for one in curve], caption, "answered", "wrong", diagonal=False)
