"""The text taken from a file, and the writer that readers build it with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u00ad\ufeff]")
_BREAKS = str.maketrans({"\r": "\n", "\x85": "\n", "\u2028": "\n", "\u2029": "\n\n"})
CELLS = " | "
"""Stands between the cells of a row."""


@dataclass(frozen=True, slots=True)
class Note:
    """What a user should know about the reading of a file: text that is `lost`, or else a guess."""

    text: str
    lost: bool = True


@dataclass(frozen=True, slots=True)
class Table:
    """Offsets in the document of the rows below a table's header, one row a line, and the header's own text."""

    start: int
    end: int
    header: str


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of a document's text that a passage does not cross without need: a page, or the text below a heading.

    `start` is its offset in the document. A `bare` section holds nothing but its heading.
    """

    start: int
    text: str
    page: int | None = None
    heading: str | None = None
    bare: bool = False
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """The text that was extracted from a file: sections in order, without gaps."""

    path: str
    title: str
    sections: tuple[Section, ...]
    notes: tuple[Note, ...] = ()

    @property
    def text(self) -> str:
        """The whole text, into which all offsets point."""
        return "".join(section.text for section in self.sections)


@dataclass
class _Open:
    """The section that is being written."""

    start: int
    page: int | None
    heading: str | None
    parts: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    length: int = 0
    body: bool = False


class Writer:
    """Builds a document block by block.

    Headings open sections and are known by their whole path, such as "Rivers > Elbe". Blocks are paragraphs, unless
    `tight` joins one to the block before it by a single line end.
    """

    def __init__(self) -> None:
        self._done: list[Section] = []
        self._open = _Open(0, None, None)
        self._path: list[tuple[int, str]] = []
        self._notes: list[Note] = []
        self.first_heading: str | None = None

    def note(self, text: str, *, lost: bool = True) -> None:
        """Tell the user something about the file, once."""
        if Note(text, lost) not in self._notes:
            self._notes.append(Note(text, lost))

    def page(self, number: int) -> None:
        """Begin a page, slide or sheet."""
        self._begin(number, None)
        self._path = []

    def heading(self, level: int, text: str) -> None:
        """Begin a section below this heading, which is part of its text."""
        text = one_line(text)
        if not text:
            return
        if self.first_heading is None and level <= 1:
            self.first_heading = text
        self._path = [*((other, name) for other, name in self._path if other < level), (level, text[:200])]
        self._begin(self._open.page, " > ".join(name for _, name in self._path))
        self._append(text)

    def block(self, text: str, *, tight: bool = False) -> None:
        """Add a paragraph, a line of a list, or code; nothing for empty text."""
        text = clean(text).rstrip()
        if text.strip():
            self._append(text.lstrip("\n"), tight=tight)
            self._open.body = True

    def table(self, header: Sequence[Sequence[str]], rows: Sequence[Sequence[str]]) -> None:
        """Add a table: a line for each row, the rows of its header first."""
        above = "\n".join(filter(None, map(row_text, header)))
        lines = "\n".join(filter(None, map(row_text, rows)))
        self.block(above)
        if not lines:
            return
        self.block(lines, tight=bool(above))
        end = self._open.start + self._open.length
        self._open.tables.append(Table(end - len(lines), end, above))

    def document(self, path: str, title: str) -> Document:
        """Return what was written."""
        self._close()
        return Document(path, title, tuple(self._done), tuple(self._notes))

    def _begin(self, page: int | None, heading: str | None) -> None:
        if self._open.length:
            self._append("", tight=False)
        end = self._open.start + self._open.length
        self._close()
        self._open = _Open(end, page, heading)

    def _append(self, text: str, *, tight: bool = False) -> None:
        added = ("\n" if tight else "\n\n") + text if self._open.length else text
        self._open.parts.append(added)
        self._open.length += len(added)

    def _close(self) -> None:
        o = self._open
        if o.length or o.page is not None:
            self._done.append(Section(o.start, "".join(o.parts), o.page, o.heading, not o.body, tuple(o.tables)))


def clean(text: str) -> str:
    """Return text without control characters, soft hyphens and lone surrogates, every line end as "\\n"."""
    if not text.isascii():
        text = text.encode(errors="replace").decode()
    return _UNSEEN.sub("", text.replace("\r\n", "\n").translate(_BREAKS))


def one_line(text: str) -> str:
    """Return clean text with every run of white space as one blank."""
    return " ".join(clean(text).split())


def row_text(cells: Sequence[str]) -> str:
    """Return a row as one line; nothing where all its cells are empty."""
    texts = [one_line(cell) for cell in cells]
    while texts and not texts[-1]:
        texts.pop()
    return CELLS.join(texts)
