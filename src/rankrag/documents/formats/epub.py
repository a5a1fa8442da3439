"""EPUB books: the chapters in the order of the book."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from urllib.parse import unquote

from rankrag.documents.decoding import decode
from rankrag.documents.document import Document, Writer, one_line
from rankrag.documents.formats.html import write_html
from rankrag.documents.formats.packages import Package, below, child
from rankrag.errors import DataError

_PAGES = {"application/xhtml+xml", "text/html", "application/x-dtbook+xml", "text/x-oeb1-document"}
_SELF_CLOSED = re.compile(r"<(title|script|style|a|span|div|p|i|b|em|td|th|li|h[1-6]|textarea)(\s[^<>]*)?/>")
_FONTS = ("http://www.idpf.org/2008/embedding", "http://ns.adobe.com/pdf/enc#RC")


def read_epub(path: Path, data: bytes, where: str) -> Document:
    """Return the text of a book; its table of contents is left out."""
    package = Package(data, where, ".epub")
    if "META-INF/encryption.xml" in package.names:
        methods = [e.get("Algorithm") for e in below(package.xml("META-INF/encryption.xml"), "EncryptionMethod")]
        if any(method not in _FONTS for method in methods):
            raise DataError(f"{where}: protected against copying; it cannot be read")
    container = package.xml("META-INF/container.xml")
    book = next((e.get("full-path", "") for e in below(container, "rootfile")), "")
    root = package.xml(book)
    items = {e.get("id"): e for e in below(root, "item")}
    writer = Writer()
    chapters = 0
    for reference in below(root, "itemref"):
        item = items.get(reference.get("idref"))
        if item is None or item.get("media-type") not in _PAGES or "nav" in item.get("properties", "").split():
            continue
        name = posixpath.normpath(posixpath.join(posixpath.dirname(book), unquote(item.get("href", ""))))
        if name not in package.names:
            writer.note(f"the chapter {name} is missing in the file")
            continue
        chapters += 1
        text = decode(package.read(name), f"{where}: {name}", page=True).text
        write_html(writer, _unclosed(text), whole=True)
    metadata = child(root, "metadata")
    title = next((one_line(e.text or "") for e in below(metadata, "title")), "") if metadata is not None else ""
    if not chapters:
        writer.note("the book lists no chapters")
    return writer.document(path.as_posix(), title or writer.first_heading or path.stem)


def _unclosed(text: str) -> str:
    """Return XHTML as HTML: an element that closes itself would otherwise stay open."""
    return _SELF_CLOSED.sub(r"<\1\2></\1>", text)
