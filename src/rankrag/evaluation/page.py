"""The report as one HTML file: tables, plots, and every question to browse; it opens from disk and asks for nothing.

Passages and answers are foreign text. They stand in the file as JSON in which no `<` is left, and the page puts them
in place as text, never as markup. Questions and passages are in chunks at the end of the file that are read when they
are looked at, so that ten thousand questions open at once.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

from rankrag.data.files import write_whole
from rankrag.evaluation.aggregate import Comparison, lines_of
from rankrag.evaluation.calibration import (
    area_under_risk,
    calibration,
    confidence_pairs,
    relevance_pairs,
    reliability,
    risk_coverage,
)
from rankrag.evaluation.charts import interval_plot, line_plot, outcome_bars
from rankrag.evaluation.comparison_report import render_comparison
from rankrag.evaluation.outcomes import OUTCOMES
from rankrag.evaluation.questions import QuestionResult, read_kept_passages
from rankrag.types import Passage

QUESTIONS_AT_ONCE = 250
PASSAGES_AT_ONCE = 500
"""Rows of one chunk."""

SHOWN = ("EM", "Acc", "ChatRAG F1", "FEVER accuracy", "MIRAGE accuracy", "F1")
"""The figure of answers that is plotted: the first of these that a set has; without answers, its ranking's."""


def write_page(comparison: Comparison, run: Path, path: Path) -> Path:
    """Write the page of a run; return its path."""
    lines: list[tuple[int, int, list[QuestionResult]]] = []
    chunks: list[str] = []
    for number, of in enumerate(comparison.description.sets):
        passages = read_kept_passages(run / of.folder)
        place = {name: i for i, name in enumerate(passages)}
        chunks += _chunks(f"p{number}", [_passage(p) for p in passages.values()], PASSAGES_AT_ONCE)
        for column, system in enumerate(comparison.description.systems):
            rows = lines_of(run, of, system)
            chunks += _chunks(f"q{number}.{column}", [_detail(row, place) for row in rows], QUESTIONS_AT_ONCE)
            lines.append((number, column, rows))
    kinds = list(OUTCOMES)
    index = {
        "sets": [of.title for of in comparison.description.sets],
        "systems": [system.name for system in comparison.description.systems],
        "k": [
            [system.on(of.paper).k for system in comparison.description.systems] for of in comparison.description.sets
        ],
        "outcomes": [[kind, OUTCOMES[kind]] for kind in kinds],
        "chunk": {"questions": QUESTIONS_AT_ONCE, "passages": PASSAGES_AT_ONCE},
        "rows": [[s, c, row.id, row.question, kinds.index(row.outcome)] for s, c, rows in lines for row in rows],
    }
    parts = {
        "style": _resource("page.css"),
        "script": _resource("page.js"),
        "overview": _overview(comparison, lines),
        "index": _embedded("index", index),
        "chunks": "\n".join(chunks),
        "title": escape(", ".join(system.name for system in comparison.description.systems)),
    }
    before, *rest = _resource("page.html").split("{{")
    text = before + "".join(parts[name] + after for name, _, after in (piece.partition("}}") for piece in rest))
    write_whole(path, text)
    return path


def _passage(passage: Passage) -> list[str]:
    return [passage.id, passage.title, passage.text]


def _detail(row: QuestionResult, place: dict[str, int]) -> dict[str, Any]:
    """Return what is shown of a question, passages by their places; what is empty is left out."""
    found = {
        "h": row.history,
        "ga": row.gold_answers,
        "g": [place[i] for i in row.gold if i in place],
        "r": [place[i] for i in row.retrieved],
        "o": [place[i] for i in row.reranked] if row.reranked != row.retrieved else None,
        "p": [round(p, 4) for p in row.p_true if p is not None],
        "a": row.answer,
        "m": {name: round(value, 4) for name, value in row.metrics.items()},
        "f": {name: round(value, 4) for name, value in row.first.items()},
        "t": [row.seconds.t1, row.seconds.t2, row.seconds.t3],
        "e": row.error,
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


def _overview(comparison: Comparison, lines: Sequence[tuple[int, int, list[QuestionResult]]]) -> str:
    """Return the plots, then the tables of the Markdown report."""
    kinds = [kind for kind in OUTCOMES if any(kind in f.outcomes for f in comparison.systems)]
    legend = "".join(
        f'<li><span class="swatch b{list(OUTCOMES).index(kind)}"></span><b>{kind}</b> {escape(OUTCOMES[kind])}</li>'
        for kind in kinds
    )
    plots = []
    for number, of in enumerate(comparison.description.sets):
        found = [f for s in comparison.description.systems if (f := comparison.of(of.name, s.name))]
        names = {name for f in found for name in f.figures}
        metric = next((name for name in (*SHOWN, of.metric) if name in names), "")
        drawn = [
            interval_plot([(f.system, f.figures[m]) for f in found if m in f.figures], m)
            for m in dict.fromkeys((of.metric, metric))
            if m in names
        ]
        drawn.append(outcome_bars([(f.system, f.outcomes) for f in found], "What became of the questions"))
        first = next(rows for s, c, rows in lines if (s, c) == (number, 0))
        bars, squares = "".join(drawn), _reliability(first) + _risk(first)
        plots.append(
            f"<section><h2>{escape(of.title)}</h2><div class=plots><div>{bars}</div>"
            f"<div class=squares>{squares}</div></div></section>"
        )
    tables = as_html(render_comparison(comparison))
    return f"<ul class=legend>{legend}</ul>{''.join(plots)}<div class=tables>{tables}</div>"


def _reliability(rows: Sequence[QuestionResult]) -> str:
    """Return how often passages of a P(True) are gold ones, for the run's first system; nothing without P(True)."""
    pairs = relevance_pairs(rows)
    if not pairs:
        return ""
    caption = (
        f"{rows[0].system}: passages by P(True), and the share of them that is gold (ECE {calibration(rows).ece:.3f})"
    )
    points = [(of.confidence, of.accuracy) for of in reliability([p for p, _ in pairs], [gold for _, gold in pairs])]
    return line_plot(points, caption, "P(True)", "gold", diagonal=True)


def _risk(rows: Sequence[QuestionResult]) -> str:
    """Return what abstaining by the best P(True) would buy, for the run's first system; nothing without answers."""
    pairs = confidence_pairs(rows)
    if not pairs:
        return ""
    curve = risk_coverage([p for p, _ in pairs], [loss for _, loss in pairs])
    caption = f"{rows[0].system}: wrong answers when only the surest are given (area {area_under_risk(curve):.3f})"
    return line_plot([(of.coverage, of.risk) for of in curve], caption, "answered", "wrong", diagonal=False)


def as_html(markdown: str) -> str:
    """Return our own Markdown (headings, paragraphs, lists, tables, code, bold) as HTML, everything else escaped."""
    blocks = []
    for block in markdown.strip().split("\n\n"):
        lines = block.splitlines()
        if lines[0].startswith("#"):
            level = len(lines[0]) - len(lines[0].lstrip("#"))
            blocks.append(f"<h{level}>{_inline(lines[0].lstrip('# '))}</h{level}>")
            lines = lines[1:]
        tabled = [line for line in lines if line.startswith("|")]
        listed = [line[2:] for line in lines if line.startswith("- ")]
        plain = " ".join(line for line in lines if not line.startswith(("|", "- ")))
        if plain:
            blocks.append(f"<p>{_inline(plain)}</p>")
        if listed:
            blocks.append("<ul>" + "".join(f"<li>{_inline(line)}</li>" for line in listed) + "</ul>")
        if tabled:
            rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in tabled]
            head = "".join(f"<th>{_inline(cell)}</th>" for cell in rows[0])
            body = "".join("<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in row) + "</tr>" for row in rows[2:])
            blocks.append(f"<div class=wide><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>")
    return "\n".join(blocks)


def _inline(text: str) -> str:
    """Escape a piece of text; pairs of ` are code, pairs of ** are bold, <br> breaks the line."""
    for mark, tag in (("`", "code"), ("**", "b")):
        pieces = text.split(mark)
        if len(pieces) % 2:
            opened = [f"\0{'/' if i % 2 == 0 else ''}{tag}\1" for i in range(1, len(pieces))]
            text = pieces[0] + "".join(o + piece for o, piece in zip(opened, pieces[1:], strict=True))
    return escape(text).replace("&lt;br&gt;", "<br>").replace("\0", "<").replace("\1", ">")
