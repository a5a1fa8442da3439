"""Plain text, reStructuredText and Markdown: files that are text already."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from rankrag.documents.decoding import Text, decode
from rankrag.documents.document import Document, Note, Section, one_line
from rankrag.documents.formats import markdown

_UNDERLINE = re.compile(r"([!-/:-@\[-`{-~])\1{2,}[ \t]*")


def read_text(path: Path, data: bytes, where: str) -> Document:
    """Return plain text as it is, line ends included."""
    read = decode(data, where)
    return Document(path.as_posix(), path.stem, (Section(0, _without_surrogates(read.text)),), _notes(read))


def read_markdown(path: Path, data: bytes, where: str) -> Document:
    """Return Markdown as its readers see it."""
    read = decode(data, where)
    document = markdown.markdown_document(path.as_posix(), read.text, path.stem)
    return Document(document.path, document.title, document.sections, (*_notes(read), *document.notes))


def read_rst(path: Path, data: bytes, where: str) -> Document:
    """Return reStructuredText as it is, cut at its underlined headings, which are known by their whole path."""
    read = decode(data, where)
    lines = _without_surrogates(read.text).replace("\r\n", "\n").splitlines(keepends=True)
    sections: list[Section] = []
    styles: list[str] = []
    above: list[str] = []
    begin, start, heading, title = 0, 0, "", ""

    def close(end: int, first: int) -> None:
        nonlocal begin, start
        text = "".join(lines[begin:end])
        if text:
            bare = not "".join(lines[first:end]).strip() if heading else False
            sections.append(Section(start, text, heading=heading or None, bare=bare))
        begin, start = end, start + len(text)

    first = 0
    for place, style in _headings(lines):
        over = len(style) == 2
        close(place - over, first)
        if style not in styles:
            styles.append(style)
        level = styles.index(style)
        del styles[level + 1 :]
        above = [*above[:level], one_line(lines[place])[:200]]
        heading, title, first = " > ".join(above), title or above[0], place + 2
    close(len(lines), first)
    return Document(path.as_posix(), title or path.stem, tuple(sections), _notes(read))


def _headings(lines: list[str]) -> list[tuple[int, str]]:
    """Return the lines that are headings, each with the mark below it, doubled where it is above it as well."""
    found = []
    for place, (line, below) in enumerate(pairwise(lines)):
        name, under = line.rstrip(), below.rstrip()
        if not name or not _UNDERLINE.fullmatch(under) or _UNDERLINE.fullmatch(name) or len(under) < len(name.strip()):
            continue
        over = place > 0 and lines[place - 1].rstrip() == under
        free = place == 0 or not lines[place - 1].strip()
        if over or (free and not name[0].isspace()):
            found.append((place, under[0] * (2 if over else 1)))
    return found


def _without_surrogates(text: str) -> str:
    return text if text.isascii() else text.encode(errors="replace").decode()


def _notes(read: Text) -> tuple[Note, ...]:
    return (read.note,) if read.note else ()
