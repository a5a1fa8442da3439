"""Word files: what a reader sees of them, from their own XML."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rankrag.documents.document import Document, Writer, one_line
from rankrag.documents.formats.packages import Element, Package, below, child, core_title, local, value
from rankrag.documents.formats.scripts import lowered, mark, raised
from rankrag.documents.formats.word_styles import OFF, Numbers, Style, read_lists, read_styles

if TYPE_CHECKING:
    from pathlib import Path

_DROPPED = frozenset("del moveFrom instrText delText rPr pPr fldData Fallback sdtPr sectPr".split())  # noqa: SIM905


def read_docx(path: Path, data: bytes, where: str) -> Document:
    """Return the text of a Word file; its headers come first and its footers last, each once."""
    package = Package(data, where, ".docx")
    relations = package.relations("")
    main = next((target for kind, target in relations.values() if kind == "officeDocument"), "word/document.xml")
    file = _File(package, main)
    file.write()
    title = core_title(package) or file.writer.first_heading or path.stem
    return file.writer.document(path.as_posix(), title)


class _File:
    """The parts of one file."""

    def __init__(self, package: Package, main: str) -> None:
        self.writer = Writer()
        self._package, self._main = package, main
        self._relations = package.relations(main)
        targets = dict(self._relations.values())
        self._styles = read_styles(package, targets.get("styles", ""))
        self._numbers = Numbers(read_lists(package, targets.get("numbering", "")))
        self._notes: list[tuple[str, Element]] = []  # marks and texts of the notes that were met
        self._known = {kind: self._read_notes(kind) for kind in ("footnote", "endnote")}
        self._in_list = False

    def write(self) -> None:
        """Write headers, body, notes and footers, and say what is left out."""
        body = child(self._package.xml(self._main), "body")
        if body is None:
            return
        self._margins("header")
        self._blocks(body)
        for name, note in self._notes:
            text = " ".join(filter(None, (self._text(p) for p in below(note, "p"))))
            self.writer.block(f"[{name}] {text}")
        self._margins("footer")
        self._say_what_is_left(body)

    def _margins(self, kind: str) -> None:
        """Write the headers or footers, a text that several pages have but once."""
        seen = set()
        for found, target in self._relations.values():
            if found == kind and target in self._package.names:
                root = self._package.xml(target)
                text = "".join(self._text(p) for p in below(root, "p"))
                if text.strip() and text not in seen:
                    seen.add(text)
                    self._blocks(root)

    def _say_what_is_left(self, body: Element) -> None:
        kinds = [kind for kind, target in self._relations.values() if target in self._package.names]
        for kind, name in (("comments", "remarks"), ("chart", "chart"), ("aFChunk", "embedded document")):
            if count := kinds.count(kind):
                self.writer.note(f"{name} not read ({count}); copy what matters into the text")
        embedded = sum(kind in ("oleObject", "package") for kind in kinds)
        if embedded:
            self.writer.note(f"{embedded} embedded files are not read; save them as files of their own")
        if any(True for _ in below(body, "relIds")):
            self.writer.note("a diagram's text is not read; copy what matters into the text")

    def _blocks(self, parent: Element) -> None:
        for element in parent:
            name = local(element)
            if name == "p":
                self._paragraph(element)
            elif name == "tbl":
                self._table(element)
            elif name == "sdt":
                if not self._is_placeholder(element):
                    inner = child(element, "sdtContent")
                    self._blocks(inner if inner is not None else element)
            elif name in ("ins", "moveTo", "customXml", "smartTag", "AlternateContent", "Choice"):
                self._blocks(element)

    def _paragraph(self, paragraph: Element) -> None:
        style, numbered = self._style_of(paragraph)
        text = self._text(paragraph)
        boxes = list(self._boxes(paragraph))
        if style.level is not None and text.strip():
            number = self._numbers.shown(numbered)
            self.writer.heading(style.level + 1, f"{number}{text}")
            self._in_list = False
        elif text.strip():
            marker = self._numbers.shown(numbered)
            text = "\n".join(" ".join(line.split(" ")) for line in text.split("\n"))
            self.writer.block(f"{marker}{text.strip()}", tight=bool(marker) and self._in_list)
            self._in_list = bool(marker)
        for box in boxes:
            self._blocks(box)

    def _boxes(self, paragraph: Element) -> Iterator[Element]:
        """Yield the text boxes at a paragraph, once each: older programs' copies of them are passed over."""
        for box in below(paragraph, "txbxContent"):
            above = [local(element) for element in box.iterancestors()]
            if "Fallback" not in above[: above.index("p")] and above.index("p") == above.index(local(paragraph)):
                yield box

    def _text(self, paragraph: Element) -> str:
        """Return the text of a paragraph without its boxes."""
        parts: list[str] = []
        self._collect(paragraph, parts)
        return "".join(parts)

    def _collect(self, element: Element, parts: list[str]) -> None:
        for inner in element:
            name = local(inner)
            if name == "r":
                self._run(inner, parts)
            elif name == "sdt" and self._is_placeholder(inner):
                continue
            elif name == "oMath" or name == "oMathPara":
                parts.append(_math(inner))
            elif name not in _DROPPED and name != "txbxContent":
                self._collect(inner, parts)

    def _run(self, run: Element, parts: list[str]) -> None:
        look = child(run, "rPr")
        style = self._styles.get(value(child(look, "rStyle")) or "", Style())
        hidden = child(look, "vanish")
        if (value(hidden) not in OFF) if hidden is not None else style.hidden:
            return
        text = "".join(self._piece(inner, parts) for inner in run)
        place = value(child(look, "vertAlign"))
        if place == "superscript" and text.strip():
            text = raised(text, "".join(parts[-3:]))
        elif place == "subscript" and text.strip():
            text = lowered(text)
        if child(look, "caps") is not None and value(child(look, "caps")) not in OFF:
            text = text.upper()
        parts.append(text)

    def _piece(self, element: Element, parts: list[str]) -> str:
        name = local(element)
        if name == "t":
            return element.text or ""
        if name in ("tab", "ptab"):
            return "\t"
        if name in ("br", "cr"):
            return "\n"
        if name == "noBreakHyphen":
            return "-"
        if name in ("footnoteReference", "endnoteReference"):
            return self._note(name.removesuffix("Reference"), value(element, "id") or "")
        if name == "sym":
            code = int(value(element, "char") or "0", 16)
            return chr(code) if 0x20 < code < 0xE000 else ""
        if name == "drawing" and (alt := next((value(e, "descr") for e in below(element, "docPr")), None)):
            return f" {alt} " if alt and not alt.startswith("A picture containing") else ""
        if name in ("AlternateContent", "ruby"):
            self._collect(element, parts)
        return ""

    def _note(self, kind: str, number: str) -> str:
        note = self._known[kind].get(number)
        if note is None:
            return ""
        name = str(len(self._notes) + 1)
        self._notes.append((name, note))
        return mark(name)

    def _table(self, table: Element) -> None:
        rows: list[list[str]] = []
        header = 0
        for row in _rows(table):
            cells = self._cells(row, rows[-1] if rows else [])
            marked = child(row, "trPr", "tblHeader")
            if marked is not None and value(marked) not in OFF and header == len(rows):
                header += 1
            rows.append(cells)
        first = child(table, "tblPr", "tblLook")
        if not header and len(rows) > 1 and max(map(len, rows)) > 1 and value(first, "firstRow") not in OFF:
            header = 1
        self._in_list = False
        self.writer.table(rows[:header], rows[header:])

    def _cells(self, row: Element, above: list[str]) -> list[str]:
        cells: list[str] = []
        for cell in row:
            if local(cell) == "sdt":
                cell = child(cell, "sdtContent", "tc")
            if cell is None or local(cell) != "tc":
                continue
            look = child(cell, "tcPr")
            merged = child(look, "vMerge")
            if merged is not None and value(merged) in (None, "continue") and len(cells) < len(above):
                cells.append(above[len(cells)])
            else:
                cells.append(one_line(" ".join(self._cell_texts(cell))))
            width = value(child(look, "gridSpan")) or "1"
            cells += [""] * (min(int(width), 64) - 1 if width.isdecimal() else 0)
        return cells

    def _cell_texts(self, cell: Element) -> Iterator[str]:
        for inner in cell:
            name = local(inner)
            if name == "p":
                yield self._numbers.shown(self._style_of(inner)[1]) + self._text(inner)
                for box in self._boxes(inner):
                    yield from self._cell_texts(box)
            elif name == "tbl":
                yield "; ".join(" | ".join(filter(None, self._cells(row, []))) for row in _rows(inner))
            elif name in ("sdt", "sdtContent", "ins", "customXml") and not self._is_placeholder(inner):
                yield from self._cell_texts(inner)

    @staticmethod
    def _is_placeholder(control: Element) -> bool:
        return child(control, "sdtPr", "showingPlcHdr") is not None

    def _style_of(self, paragraph: Element) -> tuple[Style, tuple[str, str] | None]:
        look = child(paragraph, "pPr")
        style = self._styles.get(value(child(look, "pStyle")) or "", Style())
        level = value(child(look, "outlineLvl"))
        if level is not None and level.isdecimal():
            style = Style(int(level) if int(level) < 9 else None, style.hidden, style.numbered)
        numbers = child(look, "numPr")
        if numbers is None:
            return style, style.numbered
        number = value(child(numbers, "numId")) or (style.numbered or ("0", ""))[0]
        return style, (number, value(child(numbers, "ilvl")) or "0")

    def _read_notes(self, kind: str) -> dict[str, Element]:
        target = next((target for found, target in self._relations.values() if found == f"{kind}s"), "")
        if target not in self._package.names:
            return {}
        notes = (e for e in self._package.xml(target) if local(e) == kind)
        return {value(e, "id") or "": e for e in notes if value(e, "type") in (None, "normal")}


def _rows(table: Element) -> Iterator[Element]:
    """Yield the rows of a table, those in content controls too, without rows that were deleted."""
    for element in table:
        name = local(element)
        if name == "tr":
            if child(element, "trPr", "del") is None:
                yield element
        elif name in ("sdt", "sdtContent", "ins", "customXml"):
            yield from _rows(element)


def _math(element: Element) -> str:
    """Return a formula on one line."""
    parts: list[str] = []
    for inner in element:
        name = local(inner)
        if name == "t":
            parts.append(inner.text or "")
        elif name == "sup":
            parts.append(raised(_math(inner), "x"))
        elif name == "sub":
            parts.append(lowered(_math(inner)))
        elif name == "f":
            num, den = child(inner, "num"), child(inner, "den")
            parts.append(f"({_math(num)})/({_math(den)})" if num is not None and den is not None else "")
        elif name not in ("rPr", "ctrlPr"):
            parts.append(_math(inner))
    return "".join(parts)
