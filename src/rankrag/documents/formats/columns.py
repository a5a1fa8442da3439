"""The order in which a page is read: columns one after the other, lines put together to paragraphs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from statistics import median
from typing import NamedTuple


class Word(NamedTuple):
    """A word, its box in points from the page's lower left corner, and its line in the order of the file."""

    text: str
    left: float
    bottom: float
    right: float
    top: float
    line: int


@dataclass(frozen=True, slots=True)
class _Run:
    """Neighbouring words of a line, without a wide gap between them."""

    words: tuple[Word, ...]
    left: float
    bottom: float
    right: float
    top: float

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words)


def paragraphs(words: Sequence[Word], width: float) -> Iterator[list[str]]:
    """Yield the lines of each paragraph of a page in reading order.

    The order of the file is kept, but for columns that are beside each other. A gap wider than the usual one between
    lines, or another size of letters, begins a paragraph.
    """
    runs = [run for _, line in groupby(words, key=lambda word: word.line) for run in _runs(list(line))]
    if not runs:
        return
    held: list[_Run] = []
    lines: list[str] = []
    pitch = _pitch(runs)
    for run in _ordered(runs, width, 0):
        before = held[-1] if held else None
        if before is not None and _same_line(before, run):
            lines[-1] = f"{lines[-1]} {run.text}"
        elif before is not None and _goes_on(before, run, pitch):
            lines.append(run.text)
        else:
            if lines:
                yield lines
            lines = [run.text]
        held = [run]
    yield lines


def _runs(line: Sequence[Word]) -> Iterator[_Run]:
    """Yield the words of a line, cut where a gap is as wide as a space between columns."""
    begin = 0
    for place in range(1, len(line) + 1):
        if place < len(line):
            here, after = line[place - 1], line[place]
            size = max(here.top - here.bottom, 4.0)
            if -size < after.left - here.right < 1.6 * size:
                continue
        part = line[begin:place]
        begin = place
        yield _Run(
            tuple(part),
            min(word.left for word in part),
            min(word.bottom for word in part),
            max(word.right for word in part),
            max(word.top for word in part),
        )


def _ordered(runs: Sequence[_Run], width: float, depth: int) -> list[_Run]:
    """Return the runs in reading order; a run across the gap of the columns divides them into upper and lower parts."""
    gap = _gap(runs) if depth < 4 and len(runs) >= 6 else None
    if gap is None:
        return list(runs)
    done: list[_Run] = []
    sides: tuple[list[_Run], list[_Run]] = ([], [])

    def flush() -> None:
        for side in sides:
            done.extend(_ordered(side, width, depth + 1))
            side.clear()

    for run in sorted(runs, key=lambda run: (-round(run.top), run.left)):
        if run.left < gap - 2 and run.right > gap + 2:
            flush()
            done.append(run)
        else:
            sides[run.left >= gap - 2].append(run)
    flush()
    return done


def _gap(runs: Sequence[_Run]) -> float | None:
    """Return where a blank strip divides lines of running text; `None` without one.

    Cells of a table are short and end anywhere; the lines of a column are long, and few lines cross the strip.
    """
    left, right = min(run.left for run in runs), max(run.right for run in runs)
    best: tuple[float, float] | None = None
    for start in sorted({run.left for run in runs if left + 40 < run.left < right - 40}):
        gap = start - 1
        before = [run for run in runs if run.right <= gap + 1]
        after = [run for run in runs if run.left >= gap - 1]
        crossing = len(runs) - len(before) - len(after)
        if min(len(before), len(after)) < 3 or crossing > 0.25 * len(runs):
            continue
        if _is_column(before) and _is_column(after) and _beside(before, after):
            score = crossing + abs(gap - (left + right) / 2) / (right - left)
            if best is None or score < best[0]:
                best = score, gap
    return best[1] if best else None


def _is_column(runs: Sequence[_Run]) -> bool:
    widths = [run.right - run.left for run in runs]
    words = sum(len(run.words) for run in runs)
    return words >= 3 * len(runs) and median(widths) > 0.5 * (
        max(run.right for run in runs) - min(run.left for run in runs)
    )


def _beside(before: Sequence[_Run], after: Sequence[_Run]) -> bool:
    """Whether two groups of lines are at the same height of the page for at least half of the smaller one."""
    top, bottom = (
        min(max(r.top for r in before), max(r.top for r in after)),
        max(min(r.bottom for r in before), min(r.bottom for r in after)),
    )
    heights = [max(r.top for r in side) - min(r.bottom for r in side) for side in (before, after)]
    return top - bottom > 0.5 * min(heights)


def _pitch(runs: Sequence[_Run]) -> float:
    """Return the usual distance between lines, in heights of their letters."""
    steps = [
        (a.bottom - b.bottom) / max(b.top - b.bottom, 1.0)
        for a, b in pairwise(runs)
        if 0 < a.bottom - b.bottom < 4 * max(b.top - b.bottom, 1.0)
    ]
    return median(steps) if steps else 1.5


def _same_line(before: _Run, run: _Run) -> bool:
    overlap = min(before.top, run.top) - max(before.bottom, run.bottom)
    return overlap > 0.5 * min(before.top - before.bottom, run.top - run.bottom) and run.left >= before.right - 2


def _goes_on(before: _Run, run: _Run, pitch: float) -> bool:
    """Whether a line belongs to the paragraph of the line before it."""
    height, other = max(run.top - run.bottom, 1.0), max(before.top - before.bottom, 1.0)
    if not 0.85 < height / other < 1.18:
        return False
    step = (before.bottom - run.bottom) / max(height, other)
    return step < 0 or step < 1.4 * pitch or before.text.endswith("-")
