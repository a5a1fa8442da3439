"""Rich Text Format: the text that its words and groups show."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass, replace
from pathlib import Path

from rankrag.documents.document import Document, Writer, one_line
from rankrag.documents.formats.scripts import lowered, mark, raised
from rankrag.errors import DataError

_TOKEN = re.compile(
    rb"\\(?P<word>[a-zA-Z]{1,32})(?P<number>-?\d{1,10})?\x20?|\\'(?P<hex>[0-9a-fA-F]{2})|\\(?P<symbol>[^a-zA-Z])"
    rb"|(?P<brace>[{}])|[\r\n]+|(?P<text>[^\\{}\r\n]+)"
)
_UNSHOWN = b"""
    fonttbl colortbl stylesheet listtable listoverridetable rsidtbl generator pict object objdata themedata datastore
    colorschememapping latentstyles xmlnstbl fldinst bkmkstart bkmkend annotation atnid atnauthor atnref revtbl
    filetbl mmathPr operator author company doccomm keywords subject private nonshppict blipuid wgrffmtfilter
    pgdsctbl ftnsep ftnsepc aftnsep aftnsepc passwordhash userprops xe tc template hlinkbase falt panose
"""
_SKIPPED = frozenset(_UNSHOWN.split())
_LOST = {b"object": "embedded objects", b"annotation": "remarks"}
_MARGINS = frozenset(b"header headerl headerr headerf footer footerl footerr footerf".split())
_CHARACTERS = {
    b"emdash": "—",
    b"endash": "–",
    b"bullet": "•",
    b"lquote": "‘",
    b"rquote": "’",
    b"ldblquote": "“",
    b"rdblquote": "”",
    b"tab": "\t",
    b"line": "\n",
    b"emspace": " ",
    b"enspace": " ",
    b"qmspace": " ",
}
_CHARSETS = {
    0: "cp1252",
    77: "mac_roman",
    128: "cp932",
    129: "cp949",
    134: "gb18030",
    136: "big5hkscs",
    161: "cp1253",
    162: "cp1254",
    163: "cp1258",
    177: "cp1255",
    178: "cp1256",
    186: "cp1257",
    204: "cp1251",
    222: "cp874",
    238: "cp1250",
    255: "cp437",
}


@dataclass(frozen=True, slots=True)
class _State:
    """The settings of a group; they end with it."""

    place: str = "body"  # or skipped, header, footer, note, title
    hidden: bool = False
    shift: int = 0  # 1 raised, -1 lowered
    skip: int = 1  # characters that stand for a Unicode one in older programs
    encoding: str = "cp1252"
    fonts: bool = False


def read_rtf(path: Path, data: bytes, where: str) -> Document:
    """Return the text of a Rich Text file: headers, body, notes, footers."""
    if not data.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"{\\rtf"):
        raise DataError(f"{where}: a broken or foreign .rtf file (it does not begin with {{\\rtf); save it anew")
    reader = _Reader()
    reader.read(data)
    return reader.document(path)


class _Reader:
    """Reads a file token by token."""

    def __init__(self) -> None:
        self._state = _State()
        self._stack: list[_State] = []
        self._body: list[str] = []
        self._others: dict[str, list[str]] = {"header": [], "footer": [], "note": [], "title": []}
        self._fonts: dict[int, str] = {}
        self._font = 0
        self._bytes = bytearray()
        self._pending = 0  # characters still to be skipped after a Unicode one
        self._starred = False
        self._notes = 0
        self._levels: dict[int, int] = {}
        self._level: int | None = None
        self._blocks: list[tuple[int | None, str]] = []  # level of a heading, or -1 less the number of a table
        self._tables: list[list[list[str]]] = []
        self._rows: list[list[str]] = []
        self._cells: list[str] = []
        self._in_table = False
        self._lost: set[str] = set()
        self._default = "cp1252"

    def read(self, data: bytes) -> None:
        """Take in all tokens of a file."""
        place, end = 0, len(data)
        while place < end:
            found = _TOKEN.match(data, place)
            if found is None:
                place += 1
                continue
            place = found.end()
            if found["word"] is not None:
                self._flush_bytes()
                number = int(found["number"]) if found["number"] else None
                if found["word"] == b"bin" and number:
                    place += max(number, 0)
                else:
                    self._word(found["word"], number)
            elif found["hex"] is not None:
                self._byte(bytes.fromhex(found["hex"].decode()))
            elif found["text"] is not None:
                self._byte(found["text"])
            elif found["brace"] is not None:
                self._flush_bytes()
                self._brace(found["brace"])
            elif found["symbol"] is not None:
                self._flush_bytes()
                self._symbol(found["symbol"])
        self._flush_bytes()
        self._paragraph()
        self._end_table()

    def document(self, path: Path) -> Document:
        """Return what was read."""
        writer = Writer()
        for name in ("header", "body", "note", "footer"):
            if name == "body":
                for level, text in self._blocks:
                    if level is None:
                        writer.block(text)
                    elif level >= 0:
                        writer.heading(level + 1, text)
                    else:
                        self._write_table(writer, -1 - level)
                continue
            for text in dict.fromkeys(map(one_line, "".join(self._others[name]).split("\n"))):
                writer.block(text)
        for what in sorted(self._lost):
            writer.note(f"{what} are not read")
        title = one_line("".join(self._others["title"]))
        return writer.document(path.as_posix(), title or writer.first_heading or path.stem)

    def _write_table(self, writer: Writer, number: int) -> None:
        rows = self._tables[number]
        header = 1 if len(rows) > 1 and len(rows[0]) > 1 else 0
        writer.table(rows[:header], rows[header:])

    def _brace(self, brace: bytes) -> None:
        if brace == b"{":
            self._stack.append(self._state)
        else:
            before = self._state
            self._state = self._stack.pop() if self._stack else _State()
            if before.place != self._state.place and before.place in self._others:
                self._others[before.place].append("\n")
        self._starred = False
        self._pending = 0

    def _symbol(self, symbol: bytes) -> None:
        if symbol == b"*":
            self._starred = True
        elif symbol == b"~":
            self._put("\u00a0")
        elif symbol == b"_":
            self._put("-")
        elif symbol in b"{}\\":
            self._put(symbol.decode())
        elif symbol in b"\r\n":
            self._word(b"par", None)

    def _word(self, word: bytes, number: int | None) -> None:
        state, starred = self._state, self._starred
        self._starred = False
        if word in _SKIPPED:
            if word in _LOST:
                self._lost.add(_LOST[word])
            self._state = replace(state, place="skipped", fonts=word == b"fonttbl")
        elif word in _MARGINS:
            self._state = replace(state, place="header" if word.startswith(b"header") else "footer")
        elif word == b"footnote":
            self._notes += 1
            self._put(mark(str(self._notes)))
            self._state = replace(state, place="note")
            self._put(f"[{self._notes}] ")
        elif word == b"title":
            self._state = replace(state, place="title")
        elif word == b"info" or (
            starred and word not in (b"shptxt", b"shpinst", b"bkmkstart", b"fldrslt", b"listtext")
        ):
            self._state = replace(state, place="skipped")
        else:
            self._format(word, number)

    def _format(self, word: bytes, number: int | None) -> None:
        state = self._state
        on = number != 0
        if word in _CHARACTERS:
            self._put(_CHARACTERS[word])
        elif word in (b"par", b"sect", b"page"):
            self._paragraph() if state.place == "body" else self._put("\n")
        elif word == b"u" and number is not None:
            self._put(_character(number))
            self._pending = state.skip
        elif word == b"uc":
            self._state = replace(state, skip=max(0, number or 0))
        elif word in (b"v", b"deleted"):
            self._state = replace(state, hidden=on)
        elif word in (b"super", b"sub", b"nosupersub"):
            self._flush_bytes()
            self._state = replace(state, shift={b"super": 1, b"sub": -1}.get(word, 0) if on else 0)
        elif word == b"plain":
            self._state = replace(state, hidden=False, shift=0)
        elif word == b"ansicpg" and number:
            self._default = _codec(f"cp{number}")
            self._state = replace(state, encoding=self._default)
        elif word == b"f" and number is not None:
            self._font = number
            self._state = replace(state, encoding=self._fonts.get(number, self._default))
        elif word == b"fcharset" and state.fonts:
            self._fonts[self._font] = _CHARSETS.get(number or 0, self._default) if number else self._default
        elif word == b"pard":
            self._level = None
        elif word == b"outlinelevel" and number is not None and number < 9:
            self._level = number
        elif word == b"intbl":
            self._in_table = True
        elif word == b"cell":
            self._cells.append(one_line(_paired("".join(self._body))))
            self._body.clear()
        elif word == b"row":
            self._rows.append(self._cells)
            self._cells = []
            self._in_table = False

    def _byte(self, data: bytes) -> None:
        if self._pending:
            taken = min(self._pending, len(data))
            self._pending -= taken
            data = data[taken:]
        self._bytes += data

    def _flush_bytes(self) -> None:
        if self._bytes:
            text = bytes(self._bytes).decode(self._state.encoding, "replace")
            self._bytes.clear()
            self._put(text)

    def _put(self, text: str) -> None:
        state = self._state
        if state.place == "skipped" or state.hidden:
            return
        target = self._body if state.place == "body" else self._others[state.place]
        if state.shift and text.strip():
            text = lowered(text) if state.shift < 0 else raised(text, "".join(target[-3:]))
        target.append(text)

    def _paragraph(self) -> None:
        if self._in_table and self._state.place == "body" and (self._cells or self._body):
            self._body.append(" ")
            return
        text = _paired("".join(self._body))
        self._body.clear()
        if self._rows and text.strip():
            self._end_table()
        if text.strip():
            self._blocks.append((self._level, text.strip()))

    def _end_table(self) -> None:
        if self._cells:
            self._rows.append(self._cells)
            self._cells = []
        if self._rows:
            self._tables.append(self._rows)
            self._blocks.append((-len(self._tables), ""))
            self._rows = []


def _character(number: int) -> str:
    """Return the character of a signed number; halves of a pair are put together later."""
    code = number + 65536 if number < 0 else number
    return chr(code) if 0 < code < 0x110000 else ""


def _paired(text: str) -> str:
    """Return text with the halves of characters beyond 16 bits put together."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _codec(name: str) -> str:
    try:
        return codecs.lookup(name).name
    except LookupError:
        return "cp1252"
