"""Pages of HTML: the main text as a reader sees it, without navigation, notices and hidden parts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from lxml import etree

from rankrag.documents.decoding import decode
from rankrag.documents.document import Document, Writer, one_line, row_text
from rankrag.documents.formats.boilerplate import Element, dropped_from, main_of, text_of
from rankrag.documents.formats.html_tables import Grid, has_header, is_grid, number_of, span_of
from rankrag.documents.formats.scripts import is_mark, lowered, mark, raised

_UNSEEN = frozenset(
    "script style noscript template head iframe object embed applet canvas svg select datalist input meta link audio "  # noqa: SIM905
    "video frameset dialog rp annotation annotation-xml".split()
)
_BLOCKS = frozenset(
    "address article aside blockquote body center dd details dialog dir div dl dt fieldset figcaption figure footer "  # noqa: SIM905
    "form h1 h2 h3 h4 h5 h6 header hgroup hr html legend li main menu nav ol optgroup option p pre section summary "
    "table tbody td textarea tfoot th thead tr ul caption".split()
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_DEEP = re.compile(r"</?(?:div|span|font|b|i|em|strong|blockquote|center|section|ul|li|p)\b[^>]*>", re.IGNORECASE)
_CAN_HAVE_EXPONENT = re.compile(r"(?<!\d)10$|(?<![^\W\d_])[^\W\d_]{1,2}$|\)$")  # a ten, a unit or a variable
_PARSER = {"huge_tree": True, "remove_comments": True, "remove_pis": True}


def read_html(path: Path, data: bytes, where: str) -> Document:
    """Return the main text of a page; its title is its own, else its first heading of level 1."""
    read = decode(data, where, page=True)
    writer = Writer()
    title = write_html(writer, read.text)
    if read.note:
        writer.note(read.note.text, lost=read.note.lost)
    return writer.document(path.as_posix(), title or writer.first_heading or path.stem)


def write_html(writer: Writer, text: str, *, whole: bool = False) -> str:
    """Write a page, or all of it that is not hidden where `whole`; return its title."""
    root = _parsed(text)
    if root is None:
        return ""
    title = one_line(next((text_of(e) for e in root.iter("title")), ""))
    start = root if whole else main_of(root)
    walk = _Walk(writer, dropped_from(start, root) if not whole else set(), _defined_marks(root))
    walk.run(start)
    return title


def inline_text(text: str) -> str:
    """Return a fragment of HTML as text."""
    root = _parsed(f"<div>{text}</div>")
    if root is None:
        return ""
    writer = Writer()
    _Walk(writer, set(), frozenset()).run(root)
    return writer.document("", "").text


def _parsed(text: str) -> Element | None:
    data = text.encode("utf-8", "replace")
    try:
        parser = etree.HTMLParser(encoding="utf-8", **_PARSER)
        root = etree.fromstring(data, parser)
        if any("depth" in error.message for error in parser.error_log):
            root = etree.fromstring(_DEEP.sub(" ", text).encode("utf-8", "replace"), parser)
    except etree.XMLSyntaxError:
        return None
    return root


def _defined_marks(root: Element) -> frozenset[str]:
    """Return the marks of the notes that a page explains: raised text that begins a paragraph."""
    found = set()
    for element in root.iter("sup"):
        above = element.getparent()
        is_first = above is not None and above.index(element) == 0 and not (above.text or "").strip()
        if is_first and above.tag in ("p", "li", "div", "td", "small"):
            found.add(one_line(text_of(element)))
    return frozenset(found)


def _is_hidden(element: Element) -> bool:
    if element.tag in _UNSEEN or element.get("hidden") is not None or element.get("aria-hidden") == "true":
        return element.tag != "dialog" or element.get("open") is None
    style = element.get("style")
    return bool(style and _HIDDEN.search(style))


@dataclass
class _List:
    """A list that is being read: its kind, the number of its next item, and whether it has one."""

    numbered: bool
    following: int = 1
    begun: bool = False


class _Walk:
    """Goes through a page once and writes its blocks."""

    def __init__(self, writer: Writer, dropped: set[Element], marks: frozenset[str]) -> None:
        self._writer, self._dropped, self._marks = writer, dropped, marks
        self._parts: list[str] = []
        self._pre = 0
        self._grids: list[Grid] = []
        self._lists: list[_List] = []  # those that are open
        self._tight = False
        self._marker = ""  # what the first block of a list's item begins with

    def run(self, root: Element) -> None:
        """Write everything below an element; a stack, for pages may be nested deeper than Python calls."""
        stack: list[tuple[Element, bool]] = [(root, True)]
        while stack:
            element, begins = stack.pop()
            if not begins:
                self._end(element, element.tag)
            elif element is not root and (element in self._dropped or _is_hidden(element)):
                if element.tag in _BLOCKS:
                    self._break()
            elif element.tag in ("sup", "sub"):
                self._script(element)
            else:
                self._begin(element, element.tag)
                if element.text:
                    self._add(element.text)
                stack.append((element, False))
                if len(element):
                    stack.extend((child, True) for child in reversed(element))
                continue
            if element.tail and element is not root:
                self._add(element.tail)
        self._break()

    def _target(self) -> list[str]:
        cell = self._grids[-1].cell if self._grids else None
        return self._parts if cell is None else cell

    def _add(self, text: str) -> None:
        self._target().append(text if self._pre else text.replace("\n", " "))

    def _break(self, level: int = 0) -> None:
        """End a paragraph, or a heading; in a cell of a table, a word."""
        if self._grids and self._grids[-1].cell is not None:
            self._grids[-1].cell.append(" ")
            return
        text = "".join(self._parts)
        self._parts.clear()
        if not text or text.isspace():
            return
        if level:
            self._writer.heading(level, text)
        else:
            if not self._pre:
                text = "\n".join(filter(None, (" ".join(line.split()) for line in text.split("\n"))))
            self._writer.block(self._marker + text, tight=self._tight)
        self._marker, self._tight = "", False

    def _begin(self, element: Element, tag: str) -> None:
        if tag not in _BLOCKS:
            if tag == "br":
                self._target().append("\n")
            elif tag == "img" and len((alt := element.get("alt") or "").split()) > 2:  # shorter ones name decoration
                self._add(f" {alt} ")
            elif tag in ("rt", "q"):
                self._add("(" if tag == "rt" else "“")
            return
        self._break()
        if tag in ("pre", "textarea"):
            self._pre += 1
        elif tag in ("ul", "ol", "menu", "dir"):
            self._lists.append(_List(tag == "ol", number_of(element, "start", 1)))
        elif tag == "li":
            self._item(element)
        elif tag == "dd":
            self._tight = True
        elif tag == "table":
            if is_grid(element):
                self._grids.append(Grid())
        elif tag in ("td", "th") and self._grids:
            self._grids[-1].cell = []

    def _end(self, element: Element, tag: str) -> None:
        if tag not in _BLOCKS:
            if tag in ("rt", "q"):
                self._add(")" if tag == "rt" else "”")
            return
        if tag in ("td", "th") and self._grids:
            across, down = span_of(element, "colspan"), span_of(element, "rowspan")
            self._grids[-1].end_cell(across, down, name=tag == "th")
        elif tag == "tr" and self._grids:
            self._grids[-1].end_row(in_head=element.getparent().tag == "thead")
        elif tag == "table" and self._grids and is_grid(element):
            self._break()
            self._end_table(self._grids.pop())
        else:
            self._break(_HEADINGS.get(tag, 0))
        if tag in ("pre", "textarea"):
            self._pre -= 1
        elif tag in ("ul", "ol", "menu", "dir") and self._lists:
            self._lists.pop()
        elif tag == "li":
            self._marker, self._tight = "", False

    def _end_table(self, grid: Grid) -> None:
        if self._grids and self._grids[-1].cell is not None:  # a table in a cell
            self._grids[-1].cell.append("; ".join(map(row_text, [*grid.header, *grid.rows])))
        elif not grid.header and has_header(grid.rows):
            self._writer.table(grid.rows[:1], grid.rows[1:])
        else:
            self._writer.table(grid.header, grid.rows)

    def _item(self, element: Element) -> None:
        above = self._lists[-1] if self._lists else _List(numbered=False)
        above.following = number_of(element, "value", above.following)
        marker = f"{above.following}. " if above.numbered else "- "
        self._marker = "  " * max(0, len(self._lists) - 1) + marker
        self._tight = above.begun or len(self._lists) > 1
        above.following, above.begun = above.following + 1, True

    def _script(self, element: Element) -> None:
        text = one_line(text_of(element))
        before = "".join(self._target()[-3:])
        if element.tag == "sub":
            self._add(lowered(text) if len(text) <= 20 else f" {text}")
        elif len(text) > 20:
            self._add(f" {text}")
        elif not before.strip() and text in self._marks:
            self._add(f"[{text}] ")
        elif is_mark(text) and (self._is_note(element, before, text)):
            self._add(mark(text))
        else:
            self._add(raised(text, before))

    def _is_note(self, element: Element, before: str, text: str) -> bool:
        """Whether raised text is the mark of a note: a link, or explained elsewhere on the page."""
        linked = next(element.iter("a"), None) is not None or element.getparent().tag == "a"
        return linked or (text in self._marks and not _CAN_HAVE_EXPONENT.search(before.rstrip()))
