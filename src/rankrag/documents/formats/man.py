"""Manual pages: their text without the commands of troff."""

from __future__ import annotations

import gzip
import io
import re
import zlib
from pathlib import Path

from rankrag.documents.decoding import decode
from rankrag.documents.document import Document, Writer, one_line
from rankrag.documents.formats.man_tables import read_table
from rankrag.documents.formats.troff import FONTS, MDOC, font_text, mdoc_text, request_arguments, shown_text
from rankrag.errors import DataError

_LARGEST = 64 << 20  # bytes
_STRINGS = {"lq": "“", "rq": "”", "R": "®", "Tm": "™", "Aq": "'", "S": ""}
_SYSTEMS = {
    "Ux": "UNIX",
    "Bx": "BSD",
    "Ox": "OpenBSD",
    "Nx": "NetBSD",
    "Fx": "FreeBSD",
    "Dx": "DragonFly",
    "At": "AT&T UNIX",
}
_PARAGRAPHS = {
    "PP",
    "P",
    "LP",
    "Pp",
    "sp",
    "HP",
    "br",
    "Bl",
    "El",
    "Bd",
    "Ed",
    "RS",
    "RE",
    "EX",
    "EE",
    "nf",
    "fi",
    "in",
}


def read_man(path: Path, data: bytes, where: str) -> Document:
    """Return the text of a manual page, packed or not, cut at its headings."""
    if data.startswith(b"\x1f\x8b"):
        data = _unpacked(data, where)
    read = decode(data, where)
    page = _Page()
    lines = re.sub(r"\\\n", "", read.text.replace("\r\n", "\n")).split("\n")
    if not any(line.startswith((".TH", ".Dd", ".Dt", ".SH", ".Sh", ".so", '.\\"', "'\\\"")) for line in lines[:400]):
        raise DataError(f"{where}: no manual page (it has no .TH and no .Dd); give it the ending .txt to read it")
    for line in lines:
        page.line(line)
    page.end()
    if read.note:
        page.writer.note(read.note.text, lost=read.note.lost)
    return page.writer.document(path.as_posix(), page.title or path.name)


def _unpacked(data: bytes, where: str) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            text = file.read(_LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{where}: a broken .gz file ({error}); pack it anew") from None
    if len(text) > _LARGEST:
        raise DataError(f"{where}: unpacked it would be more than {_LARGEST >> 20} MB; it is not read")
    return text


class _Page:
    """A page that is read line by line."""

    def __init__(self) -> None:
        self.writer = Writer()
        self.title = ""
        self._parts: list[str] = []
        self._pre = False
        self._tag = 0  # lines until the text behind a tag begins
        self._tight = False
        self._skipping = ""
        self._heading = 0
        self._name = ""
        self._table: list[str] | None = None  # the lines so far
        self._strings: dict[str, str] = dict(_STRINGS)

    def line(self, line: str) -> None:
        """Take in one line of the source."""
        if self._skipping:
            if line.startswith(self._skipping):
                self._skipping = ""
            return
        if self._table is not None and not line.startswith(".TE"):
            self._table.append(line)
        elif line[:1] in (".", "'") and len(line) > 1:
            self._command(line[1:].lstrip())
        else:
            self._put(shown_text(line, self._strings))
            self._after_line()

    def end(self) -> None:
        """Write what is left, also of a table that has no end."""
        if self._table is not None:
            self._command("TE")
        self._flush()

    def _put(self, text: str) -> None:
        if self._heading:
            level, self._heading = self._heading, 0
            self.writer.heading(level, text)
            return
        if not text.strip() and not self._pre:
            self._flush()
            return
        self._parts.append(text)

    def _after_line(self) -> None:
        if self._tag:
            self._tag -= 1
            if not self._tag:
                self._flush()
                self._tight = True

    def _flush(self) -> None:
        if self._parts:
            text = ("\n" if self._pre else " ").join(self._parts)
            if not self._pre:
                text = re.sub(r"[ \n]+", " ", text).strip()
            self.writer.block(text, tight=self._tight)
            self._parts = []
        self._tight = False

    def _command(self, line: str) -> None:
        if line.startswith(('\\"', '"')):
            return
        name, _, rest = line.partition(" ")
        name = name.partition("\t")[0]
        if name in ("SH", "SS", "Sh", "Ss"):
            self._flush()
            self._pre = False
            shown = " ".join(request_arguments(rest, self._strings))
            level = 1 if name.lower() == "sh" else 2
            if shown:
                self.writer.heading(level, shown)
            else:
                self._heading = level
        elif name in ("TH", "Dt"):
            words = request_arguments(rest, self._strings)
            if len(words) > 1:
                self.title = f"{words[0].lower() if words[0].isupper() else words[0]}({words[1]})"
        elif name in ("de", "de1", "ig", "am"):
            ends = rest.split()[0 if name == "ig" else 1 :]  # a definition is named first
            self._skipping = f".{ends[0]}" if ends else ".."
        elif name == "ds":
            key, _, text = rest.strip().partition(" ")
            self._strings[key] = shown_text(text.strip().removeprefix('"'), self._strings)
        elif name == "TS":
            self._flush()
            self._table = []
        elif name == "TE":
            self.writer.table(*read_table(self._table or (), self._strings))
            self._table = None
        elif name == "so":
            self.writer.note(f"the page stands for {one_line(rest)}", lost=False)
        else:
            self._request(name, rest)

    def _request(self, name: str, rest: str) -> None:
        words = request_arguments(rest, self._strings)
        if name in ("TP", "TQ"):
            self._flush()
            self._tag = 1
        elif name in ("IP", "It"):
            self._flush()
            tag = words[0] if name == "IP" and words else mdoc_text(rest, self._name, self._strings)
            if tag and tag not in ("•", "-", "*", "o", "\\(bu"):
                self._parts = [tag]
                self._flush()
                self._tight = True
            elif tag:
                self._parts = ["-"]
        elif name in FONTS:
            self._put(font_text(name, words))
            self._after_line()
        elif name in ("UR", "MT"):
            self._parts += words
        elif name in _PARAGRAPHS:
            self._paragraph(name, rest)
        elif name == "Nm" and words:
            self._name = words[0] if not self._name else self._name
            self._put(mdoc_text(f"Nm {rest}", self._name, self._strings))
        elif name == "Ex":
            self._put(f"The {self._name} utility exits 0 on success, and >0 if an error occurs.")
        elif name == "Rv":
            self._put(f"The {' '.join(words[1:]) or self._name}() function returns the value 0 if successful.")
        elif name.startswith("%"):
            self._put(" ".join(words) + ("." if name == "%D" else ","))
        elif name in ("Sm", "Rs", "Re"):
            pass
        elif name in _SYSTEMS:
            self._put(mdoc_text(f'No "{_SYSTEMS[name]}" {rest}', self._name, self._strings))
        elif name in MDOC:
            text = mdoc_text(f"{name} {rest}", self._name, self._strings)
            self._put(f"— {text}" if name == "Nd" else text)

    def _paragraph(self, name: str, rest: str) -> None:
        if name == "br" and self._parts and not self._pre:
            self._parts.append("\n")
            return
        if name in ("sp", "br") and self._pre:
            self._parts.append("")
            return
        self._flush()
        if name in ("nf", "EX") or (name == "Bd" and ("-literal" in rest or "-unfilled" in rest)):
            self._pre = True
        elif name in ("fi", "EE", "Ed"):
            self._pre = False
