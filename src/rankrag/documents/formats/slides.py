"""PowerPoint files: each slide a page, its title a heading, its notes below its text."""

from __future__ import annotations

from pathlib import Path

from rankrag.documents.document import Document, Writer
from rankrag.documents.formats.packages import Element, Package, below, child, core_title, local, value
from rankrag.documents.formats.scripts import lowered, raised

_TITLES = {"title", "ctrTitle"}
_FURNITURE = {"dt", "ftr", "sldNum", "hdr"}


def read_pptx(path: Path, data: bytes, where: str) -> Document:
    """Return the text of a presentation in the order of its slides; hidden slides are named, not read."""
    package = Package(data, where, ".pptx")
    main = next((target for kind, target in package.relations("").values() if kind == "officeDocument"), "")
    relations = package.relations(main)
    writer = Writer()
    listed = [value(e, "id") for e in below(package.xml(main), "sldId")]
    ids = [next((v for k, v in e.attrib.items() if k.endswith("}id")), None) for e in below(package.xml(main), "sldId")]
    for number, name in enumerate(ids or listed, start=1):
        _, target = relations.get(name or "", ("", ""))
        if target not in package.names:
            writer.note(f"slide {number} is missing in the file")
            continue
        root = package.xml(target)
        if root.get("show") == "0":
            writer.note(f"slide {number} is hidden and not read")
            continue
        writer.page(number)
        _slide(writer, root)
        _parts(writer, package, target, number)
    return writer.document(path.as_posix(), core_title(package) or writer.first_heading or path.stem)


def _slide(writer: Writer, root: Element) -> None:
    shapes = [shape for shape in below(root, "sp", "graphicFrame") if not _in_fallback(shape)]
    titles = [shape for shape in shapes if _place(shape) in _TITLES]
    for shape in titles:
        writer.heading(1, " ".join(_paragraphs(shape)))
    for shape in sorted((shape for shape in shapes if shape not in titles), key=_position):
        if _place(shape) in _FURNITURE:
            continue
        if (table := next(below(shape, "tbl"), None)) is not None:
            rows = [
                [" ".join(_paragraphs(cell)) for cell in row if local(cell) == "tc"]
                for row in table
                if local(row) == "tr"
            ]
            writer.table(rows[:1], rows[1:]) if len(rows) > 1 else writer.table([], rows)
            continue
        for place, text in enumerate(_paragraphs(shape)):
            writer.block(text, tight=place > 0)


def _parts(writer: Writer, package: Package, slide: str, number: int) -> None:
    """Write the notes of a slide, and say what of it is not read."""
    for kind, target in package.relations(slide).values():
        if kind == "notesSlide" and target in package.names:
            for shape in below(package.xml(target), "sp"):
                if _place(shape) == "body":
                    for text in _paragraphs(shape):
                        writer.block(text)
        elif kind in ("chart", "chartEx", "diagramData", "oleObject", "package"):
            writer.note(f"slide {number}: a chart, diagram or embedded file is not read")


def _place(shape: Element) -> str:
    return next((value(e, "type") or "obj" for e in below(shape, "ph")), "")


def _position(shape: Element) -> tuple[int, int]:
    """Return how far down and how far right a shape is; one whose place is its layout's comes first."""
    offset = next(below(shape, "off"), None)
    if offset is None:
        return 0, 0
    down, right = offset.get("y", "0"), offset.get("x", "0")
    return (int(down) // 200_000 if down.lstrip("-").isdecimal() else 0), (
        int(right) if right.lstrip("-").isdecimal() else 0
    )


def _in_fallback(shape: Element) -> bool:
    return any(local(above) == "Fallback" for above in shape.iterancestors())


def _paragraphs(shape: Element) -> list[str]:
    found = []
    for paragraph in below(shape, "p"):
        parts: list[str] = []
        for run in paragraph:
            name = local(run)
            if name == "br":
                parts.append("\n")
            elif name in ("r", "fld"):
                text = "".join(e.text or "" for e in run if local(e) == "t")
                shift = value(child(run, "rPr"), "baseline") or "0"
                if text.strip() and shift.lstrip("-").isdecimal() and shift != "0":
                    text = lowered(text) if shift.startswith("-") else raised(text, "".join(parts[-2:]))
                parts.append(text)
            elif name == "AlternateContent" or name == "m":
                parts.append("".join(e.text or "" for e in below(run, "t")))
        if text := "".join(parts).strip():
            found.append(text)
    return found
