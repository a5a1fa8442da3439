"""Bytes to text: by the file's own statement where it makes one, else by detection, which is said."""

from __future__ import annotations

import codecs
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from rankrag.documents.document import Note
from rankrag.errors import DataError

_SAMPLE = 1 << 15  # bytes
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
_HZ = re.compile(rb"~\{(?:[!-w][!-~])+~\}")
_SINGLE_BYTES = (
    *("cp1252", "cp1250", "iso8859-2", "cp1251", "koi8-r", "cp866", "cp1253", "iso8859-7", "cp1254", "iso8859-15"),
    *("mac_roman", "cp850", "cp852", "cp1257", "mac_cyrillic", "mac_latin2"),
    *("iso8859-5", "koi8-u", "cp1255", "cp1256", "cp874"),
)
_MULTI_BYTES = frozenset(
    "big5 big5hkscs cp932 cp949 cp950 euc_jis_2004 euc_jisx0213 euc_jp euc_kr gb18030 gb2312 gbk johab shift_jis "  # noqa: SIM905
    "shift_jis_2004 shift_jisx0213".split()
)
_MARKS_OF_TEXT = "\xa0„“”‘’‚–—…«»°§€£©®•·¿¡、。「」・，．：；！？（）\u3000"
_LETTERS = (  # of language families, one of which a text is written in
    frozenset("äöüßé"),
    frozenset("éèêëàâçîïôùûœæü"),
    frozenset("áéíóúüñïàèòçãõâêô"),  # Spanish, Catalan, Portuguese
    frozenset("àèéìíîòóùú"),
    frozenset("åäöæøéüðþáíóúý"),  # the north
    frozenset("ąćęłńóśźż"),
    frozenset("áéíýúůóčďěňřšťžôľĺŕä"),
    frozenset("áéíóöőúüű"),
    frozenset("čćđšž"),
    frozenset("ăâîșțşţ"),
    frozenset("āčēģīķļņšūžąęėįųõäöü"),  # the Baltic
    frozenset("çğıöşüâîû"),
    frozenset("абвгдежзийклмнопрстуфхцчшщъыьэюяёіїєґўђјљњћџ"),
    frozenset("αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώϊϋΐΰ"),
    frozenset(map(chr, range(0x05D0, 0x05EB))),
    frozenset(map(chr, range(0x0621, 0x0653))),
    frozenset(map(chr, range(0x0E01, 0x0E5B))) - {"ฃ", "ฅ"},  # letters that nobody writes any more
    frozenset(map(chr, [*range(0x3041, 0x30FF), *range(0x4E00, 0x9FFF), *range(0xAC00, 0xD7A4)])),
)
_ODD_WORD = re.compile(  # a capital behind a small letter, or two scripts in a word
    "[a-zß-öø-ÿа-яё][A-ZÀ-ÖØ-ÞА-ЯЁ]|[A-Za-zß-ÿ][\u0370-\u0eff]|[\u0370-\u0eff][A-Za-zß-ÿ]|[Ѐ-Я]{2}[а-я]|[бвгджзйклмнпрстфхцчшщ]{5}|[à-ſ]{5}"
)
_COMMON = frozenset("的一是不了人在有我他这中大来上国個のにはをたがでてとし、。，いる \n")
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
    raised for binary data, damaged UTF-16 or UTF-32, and encodings that are unknown.
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
    if b"\x1b" in data or b"~{" in data:
        for name in _seven_bit(data):
            if (text := _decoded(data, name)) is not None:
                return Text(text, name, Note(f"read as {name.upper()}, by its escapes", lost=False))
    try:
        return Text(data.decode(), "utf-8")
    except UnicodeDecodeError as error:
        return _detected(data, error.start, where)


def _seven_bit(data: bytes) -> Iterator[str]:
    if b"\x1b$)C" in data:
        yield "iso2022_kr"
    if b"\x1b$" in data or b"\x1b(" in data:
        yield from ("iso2022_jp", "iso2022_jp_ext")
    if data.isascii() and _HZ.search(data):
        yield "hz"


def _wide(data: bytes, where: str) -> Text:
    """Return UTF-16 without a mark; a `DataError` for bytes that are no text."""
    even, odd = data[: 2 * _SAMPLE : 2].count(0), data[1 : 2 * _SAMPLE : 2].count(0)
    for name in ("utf-16-le", "utf-16-be") if odd >= even else ("utf-16-be", "utf-16-le"):
        text = _decoded(data, name)
        if text is not None and looks_like_text(text):
            return Text(text, name, Note(f"read as {name.upper()}, without a mark that says so", lost=False))
    raise DataError(f"{where}: a binary file, not text; convert it to text, or leave it out")


def looks_like_text(text: str) -> bool:
    """Whether decoded bytes are words: no control characters, nothing unassigned, letters of few scripts."""
    import unicodedata

    sample = text[: 4 * _SAMPLE]
    odd = sum(unicodedata.category(c) in ("Cc", "Cn", "Co", "Cs") and c not in "\t\r\n\f" for c in sample)
    blocks = {ord(c) >> 8 for c in sample if ord(c) > 0x2FF and not 0x3000 <= ord(c) <= 0x9FFF}
    return len(sample) > 3 and not odd and len(blocks) <= 12


def _detected(data: bytes, bad: int, where: str) -> Text:
    """Return the text in the likely encoding, judged by the stretch around the first byte that is not UTF-8.

    UTF-16 of scripts that have no zero bytes looks like no other encoding: it is tried where its words make sense.
    """
    from charset_normalizer import from_bytes

    sample = data[max(0, bad - _SAMPLE) : bad + _SAMPLE]
    if len(data) % 2 == 0:
        for name in ("utf-16-le", "utf-16-be"):
            if wide := _ideographs(data, name):
                return Text(wide, name, Note(f"read as {name.upper()}, without a mark that says so", lost=False))
    for name in ("euc_jp", "cp932"):
        if japanese := _japanese(data, name):
            return Text(japanese, name, _guess(name, 95))
    best = from_bytes(sample).best()
    names = [best.encoding] if best else []
    read = [(plausibility(sample.decode(name, errors="replace")), name) for name in [*names, *_SINGLE_BYTES]]
    score, name = max(read, key=lambda found: found[0])  # among equals detection's, then the most usual
    if best is None and score < 0.5:
        raise DataError(f"{where}: the encoding of its text is unknown; save it as UTF-8")
    if best is not None and read[0][0] >= score - (0.2 if best.encoding in _MULTI_BYTES else 0.02):
        name = best.encoding  # several bytes that make sense together are no accident
    name = _WIDER.get(codecs.lookup(name).name, name)
    sure = round(100 * max(0.0, score))
    return Text(data.decode(name, errors="replace"), name, _guess(name, sure))


def _decoded(data: bytes, name: str) -> str | None:
    """Return the text if these bytes are in this encoding."""
    try:
        return data.decode(name)
    except UnicodeDecodeError:
        return None


def _guess(name: str, sure: int) -> Note:
    return Note(f"read as {name}, a guess ({sure} % sure); save it as UTF-8 if its letters are wrong", lost=False)


def _japanese(data: bytes, name: str) -> str | None:
    """Return the text if these bytes are Japanese in this encoding: a fifth of its letters is hiragana."""
    text = _decoded(data, name) or ""
    hiragana = sum("\u3041" <= c <= "\u3096" for c in text)
    return text if hiragana > sum(c > "\x7f" for c in text) / 5 else None


def plausibility(text: str) -> float:
    """Return how well the letters beyond ASCII fit one language family, at most 1: words of one script and case."""
    beyond = [c for c in text if c > "\x7f"]
    if not beyond:
        return 1.0
    odd = len(_ODD_WORD.findall(text))
    counts = Counter(beyond)
    marks = 0.3 * sum(counts[c] for c in _MARKS_OF_TEXT)
    bad = {"\ufffd"} | {c for c in counts if c < "\xa0"}
    best = max(
        sum(n if c.lower() in letters else -n for c, n in counts.items() if c not in _MARKS_OF_TEXT and c not in bad)
        for letters in _LETTERS
    )
    return (best + marks - 5 * sum(counts[c] for c in bad) - odd) / len(beyond)


def _ideographs(data: bytes, name: str) -> str | None:
    """Return the text if these bytes are Chinese, Japanese or Korean in this form of UTF-16."""
    text = _decoded(data, name) or ""
    sample = text[:_SAMPLE]
    common = sum(c in _COMMON for c in sample)
    east = sum("\u3000" <= c <= "\u30ff" or "\u4e00" <= c <= "\u9fff" or "\uac00" <= c <= "\ud7a3" for c in sample)
    return text if east >= 0.8 * len(sample) and common >= max(2, len(sample) / 50) else None
