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
from rankrag.evaluation.lines import QuestionLine, read_kept_passages
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
        "overview": _overview(evaluation),
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
        _Column(sets[s.name], system, names.index(system.name), evaluation.lines(s.name, system.name))
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


def _overview(evaluation: Evaluation) -> str:
    """Return the outcomes and two curves of each set, then the tables of the Markdown report."""
    legend = "".join(
        f'<li><span class="swatch b{number}"></span><b>{kind}</b> {escape(meaning)}</li>'
        for number, (kind, meaning) in enumerate(OUTCOMES.items())
        if any(kind in f.outcomes for _, _, f in evaluation.all("compared"))
    )
    sections = []
    for s in evaluation.description.sets:
        found = [figures for one, _, figures in evaluation.all("compared") if one is s]
        bars, curves = "".join(map(_outcome_bar, found)), "".join(_curves(found[0]) if found else ())
        sections.append(f"<section><h2>{escape(s.title)}</h2>{bars}<div class=squares>{curves}</div></section>")
    tables = as_html(render_report(evaluation))
    return f"<ul class=legend>{legend}</ul>{''.join(sections)}<div class=tables>{tables}</div>"


def _outcome_bar(figures: SystemFigures) -> str:
    """Return a bar of what became of a system's questions; its parts add up to all of them."""
    parts = "".join(
        f'<i class="b{number}" style="flex:{count}" title="{kind}: {count} of {figures.questions}">'
        f"{count / figures.questions:.0%}</i>"
        for number, kind in enumerate(OUTCOMES)
        if (count := figures.outcomes.get(kind, 0))
    )
    return f"<div class=outcomes><b>{escape(figures.system)}</b>{parts}</div>"


def _curves(figures: SystemFigures) -> Iterator[str]:
    """Yield how well P(True) of a system fits the gold passages of a set, and what abstaining by it would buy."""
    name, found = figures.system, figures.calibration
    if found.bins:
        caption = f"{name}: passages by P(True) →, and the share of them that is gold ↑ (ECE {found.ece:.3f})"
        yield curve([(one.confidence, one.accuracy) for one in found.bins], caption, "M0 1L1 0")
    if found.risks:
        caption = f"{name}: the surest are answered →, and that share of them is wrong ↑ (area {found.aurc:.3f})"
        yield curve(found.risks, caption, "")


def curve(points: Sequence[tuple[float, float]], caption: str, ideal: str) -> str:
    """Return points of the unit square joined by a line, as SVG; `ideal` is the path of a perfect curve, or ""."""
    places = " ".join(f"{x:.4f},{1 - y:.4f}" for x, y in points)
    grid = "".join(f"M0 {t / 4}H1M{t / 4} 0V1" for t in range(5))
    return (
        f'<figure><svg viewBox="0 0 1 1" role="img" aria-label="{escape(caption)}"><path class="grid" d="{grid}"/>'
        f'<path class="ideal" d="{ideal}"/><polyline class="curve" points="{places}"/></svg>'
        f"<figcaption>{escape(caption)}; both from 0 to 1</figcaption></figure>"
    )
