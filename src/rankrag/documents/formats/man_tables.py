"""Tables of manual pages, as tbl takes them: options, the layout of the columns, then a line for each row."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rankrag.documents.formats.troff import FONTS, MDOC, font_text, mdoc_text, request_arguments, shown_text

_SEPARATOR = re.compile(r"\btab\s*\(\s*(\S)\s*\)", re.IGNORECASE)
_RULES = ("_", "=")
_OPENS, _CLOSES = "T{", "T}"

Rows = list[list[str]]


def read_table(lines: Sequence[str], strings: dict[str, str]) -> tuple[Rows, Rows]:
    """Return header and rows of a table, whose lines stand between `.TS` and `.TE`.

    A rule below the first row, or the second, makes what is above it the header. A cell may be a block of lines, from
    T{ to T}.
    """
    source = iter(lines)
    separator = _separator(source)
    header: Rows = []
    rows: Rows = []
    cells: list[str] = []
    for line in source:
        if line.strip() in _RULES:
            if len(rows) in (1, 2) and not header:
                header, rows = rows, []
        elif line.startswith(".T&"):  # a new layout for the rows below it
            _separator(source)
        elif not line.startswith((".", "'")):
            found = line.split(separator)
            while found[-1].strip() == _OPENS:
                # what follows the block's end on its line are the row's next cells, and the last may open another block
                block, after = _block(source, strings)
                cells += [*(_cell(text, strings) for text in found[:-1]), block]
                found = after.split(separator)[1:] or [""]
            rows.append([*cells, *(_cell(text, strings) for text in found)])
            cells = []
    return header, rows


def _separator(source: Iterator[str]) -> str:
    """Read options and layout, which end with a full stop; return what stands between the cells of a row."""
    head = []
    for line in source:
        head.append(line)
        if line.rstrip().endswith("."):
            break
    options, _, _ = "\n".join(head).rpartition(";")
    found = _SEPARATOR.search(options)
    return found[1] if found else "\t"


def _block(source: Iterator[str], strings: dict[str, str]) -> tuple[str, str]:
    """Return the text of a block of lines, and what follows its end on the line."""
    words: list[str] = []
    for line in source:
        if line.startswith(_CLOSES):
            return " ".join(words), line[len(_CLOSES) :]
        words.append(_line(line, strings))
    return " ".join(words), ""


def _line(line: str, strings: dict[str, str]) -> str:
    """Return a line of a block as text; of its commands only those that show some."""
    if not line.startswith((".", "'")):
        return shown_text(line, strings)
    name, _, rest = line[1:].strip().partition(" ")
    if name in FONTS:
        return font_text(name, request_arguments(rest, strings))
    return mdoc_text(f"{name} {rest}", "", strings) if name in MDOC else ""


def _cell(text: str, strings: dict[str, str]) -> str:
    return "" if text.strip() in _RULES else shown_text(text, strings)
