"""The report as one HTML file: tables, plots, and every question to browse. It opens from disk and loads nothing else.

Passages and answers are foreign text. They are in the file as JSON that holds no `<`, and the page's script inserts
them as text, never as markup; the template (`page.html`) escapes all other text. Questions and passages are in chunks
that are only parsed when they are looked at, so that ten thousand questions open at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader
from markdown_it import MarkdownIt

from rankrag.data.files import write_whole
from rankrag.evaluation.aggregate import Evaluation, SystemFigures, lines_of
from rankrag.evaluation.lines import OUTCOMES, QuestionLine, read_kept_passages
from rankrag.evaluation.report import render_report
from rankrag.types import Passage

QUESTIONS_AT_ONCE = 250
PASSAGES_AT_ONCE = 500
"""Rows of one chunk."""


@dataclass(frozen=True, slots=True)
class _Column:
    """A system on a set: the numbers of both in the page, its k, and its lines."""

    set_number: int
    system_number: int
    k: int | None
    lines: list[QuestionLine]


def write_page(evaluation: Evaluation, path: Path) -> Path:
    """Write the page of a run; return its path."""
    systems = [system.name for system in evaluation.description.systems if system.role == "compared"]
    columns = _columns(evaluation, systems)
    found = [
        (s.title, [f for f in evaluation.all("compared") if f.of_set.name == s.name])
        for s in evaluation.description.sets
    ]
    environment = Environment(loader=FunctionLoader(_resource), autoescape=True, trim_blocks=True)
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    page = environment.get_template("page.html").render(
        systems=systems,
        index=_index(evaluation, columns, systems),
        chunks=_all_chunks(evaluation, columns),
        outcomes=[(number, kind, meaning) for number, (kind, meaning) in enumerate(OUTCOMES.items())],
        used={kind for _, compared in found for figures in compared for kind in figures.outcomes},
        sets=[(title, compared, _curves(compared[0]) if compared else ()) for title, compared in found],
        style=_resource("page.css"),
        script=_resource("page.js"),
        tables=as_html(render_report(evaluation)),
    )
    write_whole(path, page.lstrip())
    return path


def as_html(markdown: str) -> str:
    """Return the report's Markdown as HTML; it may hold foreign names, so links and images stay text."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["link", "image", "autolink"])
    return (
        str(parser.render(markdown)).replace("<table>", "<div class=wide><table>").replace("</table>", "</table></div>")
    )


def _columns(evaluation: Evaluation, systems: Sequence[str]) -> list[_Column]:
    """Return what can be browsed: all that is compared."""
    sets = [s.name for s in evaluation.description.sets]
    return [
        _Column(
            sets.index(f.of_set.name),
            systems.index(f.system.name),
            f.system.k,
            lines_of(evaluation.run, f.of_set, f.system),
        )
        for f in evaluation.all("compared")
    ]


def _index(evaluation: Evaluation, columns: Sequence[_Column], systems: Sequence[str]) -> dict[str, Any]:
    """Return what lists and filters need of every question."""
    kinds = list(OUTCOMES)
    sets = evaluation.description.sets
    by_place = {(column.set_number, column.system_number): column.k for column in columns}
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


def _all_chunks(evaluation: Evaluation, columns: Sequence[_Column]) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield the ids and rows of the chunks of passages and questions, set by set."""
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


def _chunks(name: str, rows: Sequence[Any], size: int) -> Iterator[tuple[str, Sequence[Any]]]:
    for start in range(0, len(rows), size):
        yield f"{name}.{start // size}", rows[start : start + size]


def _curves(figures: SystemFigures) -> Iterator[tuple[str, Sequence[tuple[float, float]], str]]:
    """Yield caption, points and ideal of two curves: how well P(True) fits the gold passages, what abstaining buys."""
    name, found = figures.system.name, figures.calibration
    if found.bins:
        caption = f"{name}: passages by P(True) →, and the share of them that is gold ↑ (ECE {found.ece:.3f})"
        yield caption, [(one.confidence, one.accuracy) for one in found.bins], "M0 1L1 0"
    if found.risks:
        yield (
            f"{name}: the surest are answered →, and that share of them is wrong ↑ (area {found.aurc:.3f})",
            found.risks,
            "",
        )


def _resource(name: str) -> str:
    return resources.files("rankrag.evaluation").joinpath(name).read_text(encoding="utf-8")
