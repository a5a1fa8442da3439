"""OpenDocument text: what a reader sees of an .odt file, from its own XML."""

from __future__ import annotations

from pathlib import Path

from rankrag.documents.document import Document, Writer, one_line
from rankrag.documents.formats.packages import Element, Package, below, local, value
from rankrag.documents.formats.scripts import lowered, mark, raised
from rankrag.errors import DataError

_DROPPED = {
    "tracked-changes",
    "annotation",
    "annotation-end",
    "sequence-decls",
    "variable-decls",
    "hidden-text",
    "forms",
}


def read_odt(path: Path, data: bytes, where: str) -> Document:
    """Return the text of an OpenDocument file: headers, body, notes, footers."""
    package = Package(data, where, ".odt")
    manifest = "META-INF/manifest.xml"
    if manifest in package.names and any(True for _ in below(package.xml(manifest), "encryption-data")):
        raise DataError(f"{where}: encrypted; save it without a password and index it again")
    content = package.xml("content.xml")
    styles = [content, *([package.xml("styles.xml")] if "styles.xml" in package.names else [])]
    walk = _Walk(styles)
    for root in styles[1:]:
        walk.margins(root, "header")
    for body in below(content, "text"):
        if local(body.getparent()) == "body":
            walk.blocks(body)
    walk.notes()
    for root in styles[1:]:
        walk.margins(root, "footer")
    if any(name.startswith("Object ") for name in package.names):
        walk.writer.note("embedded objects, such as charts and formulas, are not read")
    title = ""
    if "meta.xml" in package.names:
        title = next((one_line(e.text or "") for e in below(package.xml("meta.xml"), "title")), "")
    return walk.writer.document(path.as_posix(), title or walk.writer.first_heading or path.stem)


class _Walk:
    """Goes through the text of one file."""

    def __init__(self, roots: list[Element]) -> None:
        self.writer = Writer()
        self._raised, self._lowered, self._hidden = set[str](), set[str](), set[str]()
        self._numbered: dict[tuple[str, str], str] = {}  # what a level of a list shows behind its number
        self._notes: list[tuple[str, Element]] = []
        self._seen: set[str] = set()
        for root in roots:
            self._learn(root)

    def _learn(self, root: Element) -> None:
        for style in below(root, "style"):
            name = value(style, "name") or ""
            for look in below(style, "text-properties"):
                position = value(look, "text-position") or ""
                if position.startswith(("super", "-", "sub")) or position[:1].isdecimal():
                    is_low = position.startswith(("sub", "-"))
                    if is_low or position.startswith("super") or not position.startswith("0%"):
                        (self._lowered if is_low else self._raised).add(name)
                if value(look, "display") == "none":
                    self._hidden.add(name)
        for kind in below(root, "list-style"):
            for level in kind:
                if local(level) == "list-level-style-number" and value(level, "num-format"):
                    place = value(kind, "name") or "", value(level, "level") or "1"
                    self._numbered[place] = value(level, "num-suffix") or "."

    def margins(self, root: Element, kind: str) -> None:
        """Write the headers or footers of the page styles, each text once."""
        for element in below(root, kind, f"{kind}-left", f"{kind}-first"):
            text = one_line(" ".join(self._text(p) for p in below(element, "p")))
            if text and text not in self._seen:
                self._seen.add(text)
                self.writer.block(text)

    def notes(self) -> None:
        """Write the notes whose marks were met."""
        for name, body in self._notes:
            text = " ".join(self._text(p) for p in below(body, "p"))
            self.writer.block(f"[{name}] {text}")

    def blocks(self, parent: Element, depth: int = 0) -> None:
        """Write the blocks below an element."""
        for element in parent:
            name = local(element)
            if name == "h":
                level = value(element, "outline-level") or "1"
                self.writer.heading(int(level) if level.isdecimal() else 1, self._text(element))
                self._frames(element)
            elif name == "p":
                self._paragraph(element)
            elif name == "list":
                self._list(element, depth, value(element, "style-name") or "")
            elif name == "table":
                rows, header = self._rows(element)
                self.writer.table(rows[:header], rows[header:])
            elif name not in _DROPPED and not self._is_hidden(element):
                self.blocks(element, depth)

    def _is_hidden(self, element: Element) -> bool:
        return value(element, "style-name") in self._hidden or (
            local(element) == "section" and value(element, "display") == "none"
        )

    def _paragraph(self, element: Element, marker: str = "", *, tight: bool = False) -> None:
        if not self._is_hidden(element):
            text = self._text(element).strip()
            if text:
                self.writer.block(marker + text, tight=tight)
        self._frames(element)

    def _frames(self, paragraph: Element) -> None:
        for box in below(paragraph, "text-box"):
            if next((a for a in box.iterancestors() if local(a) in ("p", "h")), None) is paragraph:
                self.blocks(box)

    def _list(self, element: Element, depth: int, style: str) -> None:
        number = 1
        suffix = self._numbered.get((style, str(depth + 1)))
        for item in element:
            if local(item) not in ("list-item", "list-header"):
                continue
            marker = "  " * depth + (f"{number}{suffix} " if suffix is not None else "- ")
            for inner in item:
                if local(inner) == "list":
                    self._list(inner, depth + 1, value(inner, "style-name") or style)
                elif local(inner) in ("p", "h"):
                    self._paragraph(inner, marker, tight=number > 1 or depth > 0)
                    marker = ""
                else:
                    self.blocks(item, depth)
                    break
            number += local(item) == "list-item"

    def _rows(self, table: Element) -> tuple[list[list[str]], int]:
        """Return the rows of a table, and how many of them are its header."""
        rows: list[list[str]] = []
        header = 0
        for row in below(table, "table-row"):
            if next(a for a in row.iterancestors() if local(a) == "table") is not table:
                continue
            cells = [cell for cell in row if local(cell) in ("table-cell", "covered-table-cell")]
            rows.append([one_line(" ".join(self._text(p) for p in below(cell, "p", "h"))) for cell in cells])
            header += local(row.getparent()) == "table-header-rows"
        if not header and len(rows) > 1 and len(rows[0]) > 1:
            header = 1
        return rows, header

    def _text(self, element: Element) -> str:
        parts: list[str] = []
        self._collect(element, parts)
        return "".join(parts)

    def _collect(self, element: Element, parts: list[str]) -> None:
        parts.append(_collapsed(element.text))
        for inner in element:
            name = local(inner)
            if name == "s":
                parts.append(" " * int(value(inner, "c") or "1"))
            elif name == "tab":
                parts.append("\t")
            elif name == "line-break":
                parts.append("\n")
            elif name == "note":
                body = next(below(inner, "note-body"), None)
                if body is not None:
                    self._notes.append((str(len(self._notes) + 1), body))
                    parts.append(mark(str(len(self._notes))))
            elif name in ("text-box", *_DROPPED) or self._is_hidden(inner):
                pass
            elif name == "span" and value(inner, "style-name") in self._raised | self._lowered:
                text, before = self._text(inner), "".join(parts[-3:])
                is_low = value(inner, "style-name") in self._lowered
                parts.append(lowered(text) if is_low else raised(text, before))
            else:
                self._collect(inner, parts)
            parts.append(_collapsed(inner.tail))


def _collapsed(text: str | None) -> str:
    if not text:
        return ""
    words = " ".join(text.split())
    return f"{' ' if text[0].isspace() else ''}{words}{' ' if words and text[-1].isspace() else ''}"
