"""What the reports share: a table below its text, and the part about calibration."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rankrag.evaluation.calibration import Calibration
from rankrag.evaluation.metrics import Interval


def section(text: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a text with a Markdown table below it; nothing where the table has no rows."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    if not lines:
        return ""
    return "\n".join([text, "", "| " + " | ".join(header) + " |", "|" + "---|" * len(header), *lines])


def calibration_section(rows: Sequence[Sequence[str]], names: Sequence[str]) -> str:
    """Return the part about calibration; each row begins with what `names` head, then `calibration_cells`."""
    text = (
        "## Calibration\n\n"
        "ECE is how far P(True) of the passages lies from the share of them that is gold, on average, in ten bins; a "
        "set that does not name all its relevant passages makes it look worse. Wrong is the share of answers that are "
        "not right when all are given; AURC is its mean when only the surest are given, by the best P(True), over all "
        "shares of questions answered: the further below wrong, the more abstaining buys."
    )
    return section(text, [*names, "passages", "ECE", "answers", "wrong", "AURC"], rows)


def calibration_cells(of: Calibration) -> tuple[str, ...]:
    """Return the cells of a row about calibration."""
    ece, wrong, aurc = ("" if x is None else f"{x:.3f}" for x in (of.ece, of.wrong, of.aurc))
    return (f"{of.passages:,}", ece, f"{of.answers:,}", wrong, aurc)


def maybe(interval: Interval | None) -> str:
    """Return an interval, or a dash where there is none."""
    return "-" if interval is None else str(interval)


def met(reached: bool) -> str:
    """Return whether a target was met, so that a miss is seen."""
    return "yes" if reached else "**no**"
