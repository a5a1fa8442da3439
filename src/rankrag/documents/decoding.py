"""Bytes to text: by the file's own statement where it makes one, else by detection, which is said."""

from __future__ import annotations

import codecs
import re
import unicodedata
from dataclasses import dataclass

from rankrag.documents.document import Note
from rankrag.errors import DataError

_SAMPLE = 1 << 15  # bytes
_NEIGHBOURS = 2  # words on each side
_HEAD = 1 << 16  # bytes in which a page or an XML file states its encoding
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_STATED = re.compile(
    rb"""<\?xml[^>]{0,200}\sencoding\s*=\s*["']\s*([\w.:-]+)
       | <meta[^>]{0,500}?charset\s*=\s*["']?\s*([\w.:-]+)""",
    re.IGNORECASE | re.VERBOSE,
)
_COMMENT = re.compile(rb"<!--.*?(?:-->|\Z)|<(script|style)\b.*?(?:</\1|\Z)", re.DOTALL | re.IGNORECASE)
_NAMES = {  # of the web, which Python does not know
    "x-sjis": "cp932",
    "windows-31j": "cp932",
    "x-euc-jp": "euc_jp",
    "x-gbk": "gb18030",
    "x-x-big5": "big5hkscs",
    "windows-874": "cp874",
    "windows-949": "cp949",
    "x-mac-cyrillic": "mac_cyrillic",
    "macintosh": "mac_roman",
    "unicode-1-1-utf-8": "utf-8",
    "x-cp1250": "cp1250",
    "x-cp1251": "cp1251",
    "x-cp1252": "cp1252",
}
_WIDER = {  # what browsers read under these names; each contains the encoding that is named
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "shift_jis": "cp932",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "iso2022_jp": "iso2022_jp_ext",
}
_ESCAPES = (b"\x1b$", b"\x1b(", b"~{")  # of ISO-2022 and HZ, which are ASCII in form
_UNDEFINED = {"cp1252", "cp1253", "cp1254", "cp1257", "cp874", "cp1255", "cp1258", "cp932"}


@dataclass(frozen=True, slots=True)
class Text:
    """The text of some bytes, the encoding it was read in, and what should be said about that."""

    text: str
    encoding: str
    note: Note | None = None


def decode(data: bytes, where: str, *, stated: str | None = None, page: bool = False) -> Text:
    """Return the text of bytes: by their mark, by the encoding that is `stated`, as UTF-8, else by detection.

    A `page` of HTML or XML may state its encoding in its head. `where` names the bytes in a `DataError`, which is
    raised for binary data and for damaged UTF-16 or UTF-32.
    """
    if name := next((name for mark, name in _MARKS.items() if data.startswith(mark)), None):
        return _marked(data, name, where)
    if page and stated is None:
        stated = _statement(data)
    if stated and (read := _as_stated(data, stated)):
        return read
    read = _unmarked(data, where)
    if stated and read.encoding != "utf-8":
        return Text(read.text, read.encoding, Note(f"says it is {stated}, but is read as {read.encoding}", lost=False))
    return read


def _marked(data: bytes, name: str, where: str) -> Text:
    try:
        return Text(data.decode(name), name)
    except UnicodeDecodeError as error:
        if name == "utf-8-sig":
            return _unmarked(data[3:], where)
        reason = f"{error.reason} at byte {error.start}"
        raise DataError(f"{where}: damaged {name.upper()} ({reason}); save it anew") from None


def _statement(data: bytes) -> str | None:
    """Return the encoding that the head of a page names."""
    head = data[:_HEAD]
    found = _STATED.search(_COMMENT.sub(b"", head)) or _STATED.search(_COMMENT.sub(b"", data[: 16 * _HEAD]))
    return (found[1] or found[2]).decode("ascii", "replace") if found else None


def _as_stated(data: bytes, stated: str) -> Text | None:
    """Return the text in the encoding that was stated; `None` where that one cannot be."""
    try:
        name = codecs.lookup(_NAMES.get(stated.lower(), stated)).name
    except LookupError:
        return None
    if name.startswith(("utf-16", "utf-32")):  # a statement that can be read as ASCII is not in UTF-16
        return None
    name = _WIDER.get(name, name)
    if (whole := _decoded(data, name)) is not None:
        return Text(whole, name)
    if name not in _UNDEFINED:
        return None
    text = data.decode(name, errors="replace")
    return Text(text, name) if text.count("\ufffd") <= len(text) / 200 else None
    # an odd byte or two does not make a statement wrong


def _unmarked(data: bytes, where: str) -> Text:
    """Return text without mark or statement: UTF-8, UTF-16, a seven-bit encoding, else what detection finds."""
    if b"\0" in data:
        return _wide(data, where)
    if any(escape in data for escape in _ESCAPES):
        name = _detected(data)
        if name and name.startswith(("iso2022", "hz")) and (text := _decoded(data, name)) is not None:
            return Text(text, name, Note(f"read as {name.upper()}, by its escapes", lost=False))
    try:
        return Text(data.decode(), "utf-8")
    except UnicodeDecodeError as error:
        # a page may have long styles before its first letter, so what is judged is the stretch around that
        name = _detected(_telling(data[max(0, error.start - _SAMPLE) : error.start + _SAMPLE]))
    if name is None:
        raise _binary(where)
    name = _WIDER.get(codecs.lookup(name).name, name)
    note = Note(f"read as {name}, a guess; save it as UTF-8 if its letters are wrong", lost=False)
    return Text(data.decode(name, errors="replace"), name, note)


def _wide(data: bytes, where: str) -> Text:
    """Return UTF-16 without a mark; a `DataError` for bytes that are no text."""
    even, odd = data[: 2 * _SAMPLE : 2].count(0), data[1 : 2 * _SAMPLE : 2].count(0)
    for name in ("utf-16-le", "utf-16-be") if odd >= even else ("utf-16-be", "utf-16-le"):
        text = _decoded(data, name)
        if text is not None and _looks_like_text(text):
            return Text(text, name, Note(f"read as {name.upper()}, without a mark that says so", lost=False))
    raise _binary(where)


def _binary(where: str) -> DataError:
    return DataError(f"{where}: a binary file, not text; convert it to text, or leave it out")


def _looks_like_text(text: str) -> bool:
    """Whether decoded bytes are words: no control characters, nothing unassigned, letters of few scripts."""
    sample = text[: 4 * _SAMPLE]
    odd = sum(unicodedata.category(c) in ("Cc", "Cn", "Co", "Cs") and c not in "\t\r\n\f" for c in sample)
    blocks = {ord(c) >> 8 for c in sample if ord(c) > 0x2FF and not 0x3000 <= ord(c) <= 0x9FFF}
    return len(sample) > 3 and not odd and len(blocks) <= 12


def _telling(sample: bytes) -> bytes:
    """Return the words with letters beyond ASCII and their neighbours: all that tells encodings apart."""
    words = sample.split()
    near = {i + d for i, word in enumerate(words) if not word.isascii() for d in range(-_NEIGHBOURS, _NEIGHBOURS + 1)}
    return b" ".join(word for i, word in enumerate(words) if i in near)


def _detected(sample: bytes) -> str | None:
    """Return the encoding that chardet finds likely, by Python's name for it; None for bytes that are no text."""
    from chardet import EncodingEra, detect

    era = EncodingEra.ALL & ~EncodingEra.MAINFRAME  # no file of text comes in EBCDIC
    return detect(sample, encoding_era=era, compat_names=False)["encoding"]


def _decoded(data: bytes, name: str) -> str | None:
    """Return the text if these bytes are in this encoding."""
    try:
        return data.decode(name)
    except UnicodeDecodeError:
        return None
