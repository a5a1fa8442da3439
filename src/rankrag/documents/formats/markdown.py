"""Markdown by a CommonMark parser: the lines of the file, with what a reader does not see taken away.

Headings keep their marks. Front matter, fences, comments, images' data and the addresses of links go.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from html import escape
from typing import TYPE_CHECKING

from rankrag.documents.document import Document, Note, Section, Table, clean, one_line, row_text

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

_FRONT = re.compile(
    r"""\A(?: ---[ \t]*\n (?P<yaml>.*?) \n (?:---|\.\.\.)[ \t]* (?:\n|\Z)
          | \+\+\+[ \t]*\n (?P<toml>.*?) \n \+\+\+[ \t]* (?:\n|\Z) )""",
    re.DOTALL | re.VERBOSE,
)
_DATA = re.compile(r"data:[\w/+.-]+;base64,[A-Za-z0-9+/=\s]{200,}?(?=[)>\"'\s]|\Z)")
_DEFINITION = re.compile(r" {0,3}\[[^\]]+\]:")
_EMPTY_TABLE = re.compile(r"^[ \t]*\|?[ \t:|-]+$")


def markdown_document(path: str, text: str, stem: str) -> Document:
    """Return the document; its title is that of the front matter, else the first heading of level 1, else `stem`."""
    text = clean(text)
    title, body = _front_matter(text)
    lines = _Lines(_DATA.sub("", body))
    sections = lines.sections()
    title = title or lines.title or stem
    return Document(path, title, sections, tuple(lines.notes))


def _front_matter(text: str) -> tuple[str, str]:
    """Return the title that the front matter names, and the text below it; a block that is no mapping is text."""
    import tomllib

    import yaml

    data: object
    found = _FRONT.match(text)
    if found is None:
        return "", text
    try:
        if found["toml"] is not None:
            data = tomllib.loads(found["toml"])
        else:
            data = yaml.load(found["yaml"], Loader=yaml.BaseLoader)  # all scalars stay text; builds no objects
    except (yaml.YAMLError, tomllib.TOMLDecodeError, RecursionError, ValueError):
        return "", text
    if not isinstance(data, dict):
        return "", text
    by_name = {str(name).lower(): value for name, value in data.items()}
    title = by_name.get("title")
    return one_line(title) if isinstance(title, str) else "", text[found.end() :].lstrip("\n")


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"maxNesting": 100}).enable(["table", "strikethrough"])


class _Lines:
    """The lines of a file, those of each block replaced by what a reader sees of it."""

    def __init__(self, text: str) -> None:
        self.title = ""
        self.notes: list[Note] = []
        self._source = text.split("\n")
        self._out: list[str | None] = list(self._source)
        self._seen = [not line.strip() for line in self._source]
        self._headings: dict[int, tuple[int, str]] = {}  # by line
        self._tables: list[tuple[int, int, str]] = []  # first line below the header, line after the last, header
        self._blocks(_parser().parse(text))
        for place, line in enumerate(self._source):
            if not self._seen[place] and _DEFINITION.match(line):  # what a link means is no block
                self._drop_definition(place)

    def sections(self) -> tuple[Section, ...]:
        """Return the sections at the headings, which are known by their whole path."""
        done: list[Section] = []
        path: list[tuple[int, str]] = []
        begins = sorted({0, *self._headings})
        start = 0
        for begin, end in zip(begins, [*begins[1:], len(self._out)], strict=True):
            if begin in self._headings:
                level, name = self._headings[begin]
                path = [*((other, above) for other, above in path if other < level), (level, name)]
            section = self._section(start, begin, end, " > ".join(name for _, name in path) or None)
            if section.text:
                done.append(section)
            start += len(section.text)
        return tuple(done)

    def _section(self, start: int, begin: int, end: int, heading: str | None) -> Section:
        offsets, parts = {}, []
        length = 0
        for place in range(begin, end):
            offsets[place] = start + length
            line = self._out[place]
            if line is not None:
                last = place + 1 == len(self._out)
                parts.append(line if last else line + "\n")
                length += len(parts[-1])
        offsets[end] = start + length
        tables = tuple(
            Table(offsets[first], offsets[last], header)
            for first, last, header in self._tables
            if begin <= first and last <= end and offsets[first] < offsets[last]
        )
        text = "".join(parts)
        body = any(line and line.strip() for line in self._out[begin + (begin in self._headings) : end])
        return Section(start, text, heading=heading, bare=not body, tables=tables)

    def _blocks(self, tokens: Sequence[Token]) -> None:
        cells: list[list[str]] = []
        for place, token in enumerate(tokens):
            if token.type == "heading_open" and token.map:
                self._heading(token, tokens[place + 1])
            elif token.type in ("fence", "code_block", "html_block", "hr") and token.map:
                self._verbatim(token)
            elif token.type == "table_open" and token.map:
                cells = []
            elif token.type == "tr_open":
                cells.append([])
            elif token.type == "inline" and tokens[place - 1].type in ("th_open", "td_open"):
                cells[-1].append(_shown(token))
            elif token.type == "table_close":
                self._table(next(t for t in reversed(tokens[:place]) if t.type == "table_open"), cells)
            elif token.type == "inline" and token.map and tokens[place - 1].type == "paragraph_open":
                self._inline(token)

    def _heading(self, opening: Token, inline: Token) -> None:
        assert opening.map
        begin, end = opening.map
        text, level = one_line(_shown(inline)), int(opening.tag[1])
        self._mark(begin, end)
        prefix = self._source[begin][: len(self._source[begin]) - len(self._source[begin].lstrip(" "))]
        if not text:
            self._out[begin:end] = [""] * (end - begin)
            return
        if opening.level == 0:
            self._headings[begin] = (level, text[:200])
            if level == 1 and not self.title:
                self.title = text[:200]
            plain = opening.markup[0] == "#" and inline.content == text
            if plain and self._source[begin].rstrip("\r") == self._source[begin]:
                return
            prefix = ""
        elif (
            inline.content and (at := self._source[begin].find("#" * level if opening.markup[0] == "#" else text)) >= 0
        ):
            prefix = self._source[begin][:at]
        self._replace(begin, end, [f"{prefix}{'#' * level} {text}"])

    def _verbatim(self, token: Token) -> None:
        assert token.map
        begin, end = token.map
        self._mark(begin, end)
        if token.type == "code_block":
            return
        if token.type == "hr":
            self._replace(begin, end, [])
        elif token.type == "html_block":
            self._replace(begin, end, _from_html(token.content).split("\n"))
        else:
            self._out[begin] = ""
            if end - begin == len(token.content.splitlines()) + 2:  # a fence that is closed
                self._out[end - 1] = ""

    def _inline(self, token: Token) -> None:
        assert token.map
        begin, end = token.map
        self._mark(begin, end)
        shown = _shown(token)
        if shown == token.content:
            return
        content, new = token.content.split("\n"), shown.split("\n")
        prefixes = []
        for line, inside in zip(self._source[begin:end], content, strict=False):
            at = line.find(inside) if inside else len(line)
            prefixes.append(line[:at] if at >= 0 else "")
        if len(new) == end - begin:
            self._replace(begin, end, [prefix + line for prefix, line in zip(prefixes, new, strict=False)])
        elif shown.strip():
            self._replace(begin, end, [(prefixes[0] if prefixes else "") + new[0], *new[1:]])
        else:
            self._replace(begin, end, [])

    def _table(self, opening: Token, cells: list[list[str]]) -> None:
        assert opening.map
        begin, end = opening.map
        self._mark(begin, end)
        header, *rows = [row_text(row) for row in cells]
        self._out[begin : begin + 2] = [header, None]
        for place in range(begin + 2, end):
            row = place - begin - 2
            self._out[place] = rows[row] if row < len(rows) else ""
        if rows and header:
            self._tables.append((begin + 2, begin + 2 + len(rows), header))

    def _drop_definition(self, place: int) -> None:
        """Drop the definition of a link, which may go on in the next lines."""
        while place < len(self._source) and not self._seen[place]:
            self._out[place] = None
            self._seen[place] = True
            place += 1

    def _replace(self, begin: int, end: int, lines: list[str]) -> None:
        """Put text in the place of some lines; a text of fewer lines leaves none empty but the last."""
        joined = "\n".join(lines)
        self._out[begin] = joined
        self._out[begin + 1 : end] = [None] * (end - begin - 1)

    def _mark(self, begin: int, end: int) -> None:
        self._seen[begin:end] = [True] * (end - begin)


def _shown(token: Token) -> str:
    """Return the text that a reader sees of inline Markdown."""
    children = token.children or []
    if any(child.type == "html_inline" for child in children):
        marked = "".join(child.content if child.type == "html_inline" else escape(_seen(child)) for child in children)
        return _from_html(marked.replace("\n", "<br>"))
    return "".join(map(_seen, children))


def _seen(child: Token) -> str:
    if child.type in ("softbreak", "hardbreak"):
        return "\n"
    if child.type == "image":
        return child.content if not child.children else "".join(map(_seen, child.children))
    return child.content


def _from_html(text: str) -> str:
    from rankrag.documents.formats.html import inline_text

    return inline_text(text)
