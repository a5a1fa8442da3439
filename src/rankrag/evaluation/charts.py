"""Plots of the report as inline SVG; colours are classes of `page.css`, so that they follow the reader's theme."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from rankrag.evaluation.outcomes import OUTCOMES, Outcome
from rankrag.evaluation.statistics import Interval

WIDTH, ROW, LABEL, VALUE = 640, 26, 190, 150


def interval_plot(rows: Sequence[tuple[str, Interval]], caption: str) -> str:
    """Return a dot with its 95 % interval for each row, over an axis from 0 to 1."""
    left, right = LABEL, WIDTH - VALUE
    height = ROW * len(rows) + 26

    def x(value: float) -> float:
        return round(left + value * (right - left), 1)

    parts = [
        f'<line class="grid" x1="{x(t / 4)}" y1="4" x2="{x(t / 4)}" y2="{height - 20}"/>'
        f'<text class="tick" x="{x(t / 4)}" y="{height - 5}" text-anchor="middle">{t / 4:g}</text>'
        for t in range(5)
    ]
    for place, (name, of) in enumerate(rows):
        y = ROW * place + 18
        parts.append(
            f'<text class="name" x="{left - 10}" y="{y + 4}" text-anchor="end">{escape(_short(name))}</text>'
            f'<line class="whisker s{place % 8}" x1="{x(of.low)}" y1="{y}" x2="{x(of.high)}" y2="{y}"/>'
            f'<circle class="dot s{place % 8}" cx="{x(of.mean)}" cy="{y}" r="5"/>'
            f'<text class="value" x="{right + 12}" y="{y + 4}">{escape(str(of))}</text>'
        )
    return _svg(height, caption, parts)


def outcome_bars(rows: Sequence[tuple[str, dict[Outcome, int]]], caption: str) -> str:
    """Return a stacked bar of what became of the questions for each row; its parts add up to all of them."""
    left, right = LABEL, WIDTH - 12
    parts = []
    for place, (name, counts) in enumerate(rows):
        y, at, total = ROW * place + 6, float(left), sum(counts.values())
        parts.append(f'<text class="name" x="{left - 10}" y="{y + 14}" text-anchor="end">{escape(_short(name))}</text>')
        for number, kind in enumerate(OUTCOMES):
            count = counts.get(kind, 0)
            if not count:
                continue
            width = count / total * (right - left)
            parts.append(
                f'<rect class="o{number}" x="{at:.1f}" y="{y}" width="{max(width - 1, 0.5):.1f}" height="18" rx="2">'
                f"<title>{kind}: {count} of {total} ({count / total:.1%})</title></rect>"
            )
            if width > 44:
                parts.append(
                    f'<text class="inside" x="{at + width / 2:.1f}" y="{y + 13}" text-anchor="middle">'
                    f"{count / total:.0%}</text>"
                )
            at += width
    return _svg(ROW * len(rows) + 8, caption, parts)


def line_plot(points: Sequence[tuple[float, float]], caption: str, x_name: str, y_name: str, *, diagonal: bool) -> str:
    """Return points of the unit square joined by a line; with `diagonal`, what would be perfect is drawn too."""
    size, left, top = 240, 46, 10

    def at(point: tuple[float, float]) -> tuple[float, float]:
        return round(left + point[0] * size, 1), round(top + (1 - point[1]) * size, 1)

    parts = []
    for t in range(5):
        (x0, y0), (x1, _) = at((0, t / 4)), at((1, t / 4))
        parts.append(
            f'<line class="grid" x1="{x0}" y1="{y0}" x2="{x1}" y2="{y0}"/>'
            f'<text class="tick" x="{x0 - 6}" y="{y0 + 4}" text-anchor="end">{t / 4:g}</text>'
            f'<text class="tick" x="{at((t / 4, 0))[0]}" y="{top + size + 16}" text-anchor="middle">{t / 4:g}</text>'
        )
    if diagonal:
        (x0, y0), (x1, y1) = at((0, 0)), at((1, 1))
        parts.append(f'<line class="ideal" x1="{x0}" y1="{y0}" x2="{x1}" y2="{y1}"/>')
    places = [at(point) for point in points]
    parts.append(f'<polyline class="curve" points="{" ".join(f"{x},{y}" for x, y in places)}"/>')
    if len(places) <= 20:
        parts += [f'<circle class="dot s0" cx="{x}" cy="{y}" r="4"/>' for x, y in places]
    parts.append(f'<text class="tick" x="{left + size / 2}" y="{top + size + 34}" text-anchor="middle">{x_name}</text>')
    turned = f"translate(12 {top + size / 2}) rotate(-90)"
    parts.append(f'<text class="tick" transform="{turned}" text-anchor="middle">{y_name}</text>')
    return _svg(top + size + 42, caption, parts, width=left + size + 16)


def _svg(height: float, caption: str, parts: Sequence[str], width: int = WIDTH) -> str:
    drawn = "".join(parts)
    return (
        f'<figure><svg viewBox="0 0 {width} {height:g}" style="max-width:{width}px" role="img" '
        f'aria-label="{escape(caption)}">{drawn}</svg><figcaption>{escape(caption)}</figcaption></figure>'
    )


def _short(name: str, letters: int = 27) -> str:
    return name if len(name) <= letters else name[: letters - 1] + "…"
