"""Text to passages of about 100 words, at sentence borders where there are any.

A passage is an exact piece of its document's text, so its offsets lead a citation back to the place. Only where a table
is cut, the column names are repeated above the piece.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from rankrag.documents.document import CELLS, Document, Section, Table
from rankrag.documents.sentences import sentence_spans
from rankrag.types import Passage, Source

WORDS = 100
"""Words a passage aims at (DPR's passages of Wikipedia have 100)."""

MAX_TOKENS = 200
"""Tokens a passage has at most, by `tokens`."""

_SMALL = 30  # words; a rest below this is no passage of its own
_LONGEST = 10 * MAX_TOKENS  # characters; a token has less than ten
_STEP = MAX_TOKENS // 5  # characters; none has five tokens
_CUT = 10  # tokens that each end of a part of a long Latin word may count less than it does in the word
_GRAIN = 5  # parts of a passage that a sentence too long for one is cut into
_BARE = 1_000  # characters; a longer section is never joined to the next one
_WINDOW = 500  # pieces that are balanced together
_HEADER = MAX_TOKENS // 2  # tokens; a longer header is cut along with its rows
_LINE = re.compile(r"[^\n]+\n*|\n+")
_WORD = re.compile(r"\S+\s*|\s+")
_UNIT = re.compile(r"[a-z]{1,4}|[A-Z][a-z]{1,3}|[A-Z]{1,2}|[^\sA-Za-z]|[^\S ]| {2,8}")
_WIDE = re.compile(r"[\u0900-\U0010ffff]")
_LONG = re.compile(r"[A-Za-z\u00c0-\u024f]{11,}")
_UNBROKEN = re.compile(r"[!-~]{30,}")
_DEAR = (  # characters that cost more than one token each, and how many more
    (re.compile(r"[\u00c0-\u024f]"), 3),  # a Latin letter with a mark, which also breaks its word
    (re.compile(r"(?<=[\u0530-\u1fff\u2e80-\U0010ffff]) "), 1),  # a blank that melts into no word after it
    (re.compile(r"[\u0530-\u05ff\u0671-\U0010ffff]"), 1),
    (
        re.compile(
            r"[\u0800-\u08ff\u0a00-\u0b7f\u0c00-\u0dff\u0e80-\u109f\u1100-\u1dff\u2070-\u21ff\u2280-\u24ff\u2600-\u2fff"
            r"\ua000-\uf8ff\U00010000-\U0010ffff]"
        ),
        1,
    ),
    (re.compile(r"[\U00010000-\U0001efff\U00020000-\U0010ffff]"), 1),
)


class _Piece(NamedTuple):
    """A sentence, a row of a table, or a part of one that is too long to be whole.

    A passage that begins with this piece repeats `header` above it. One that is `apart` begins a passage.
    """

    start: int
    text: str
    words: int
    tokens: int
    header: str = ""
    apart: bool = False


def split(document: Document) -> Iterator[Passage]:
    """Yield the passages of a document in order; their ids are the path, "#" and a number from 0.

    Every character but white space is in exactly one passage, column names apart. A document without text yields none.
    """
    number = 0
    for section in _with_bodies(document.sections):
        for start, end, text in _passages(section):
            source = Source(document.path, section.page, section.heading, start, end)
            yield Passage(f"{document.path}#{number}", text, document.title, source)
            number += 1


def tokens(text: str) -> int:
    """Return about how many tokens a language model makes of a text; rather too many than too few.

    Four Latin letters count as one token, or two capitals, or eight blanks; a digit, a mark, a line end or a letter of
    another alphabet one. Characters that a small byte-level vocabulary spells in bytes count two to four (`_DEAR`).
    Long words and strings without blanks are mostly no English and count more. rankrag-mini's tokenizer makes no more
    tokens than this of any script that was tried, but up to a third more of languages in bare Latin letters, such as
    Indonesian.
    """
    count = len(_UNIT.findall(text)) + sum(math.ceil(len(word) / 6) for word in _LONG.findall(text))
    count += sum(math.ceil(len(word) / 4) for word in _UNBROKEN.findall(text))
    if text.isascii():
        return count
    return count + sum(more * len(dear.findall(text)) for dear, more in _DEAR)


def _with_bodies(sections: Iterable[Section]) -> Iterator[Section]:
    """Join sections that hold nothing but their heading, or nothing, with the section after them on the page."""
    held: Section | None = None
    for section in sections:
        if held is not None and held.page == section.page:
            section = replace(section, start=held.start, text=held.text + section.text)
        elif held is not None:
            yield held
        held = section if section.bare and len(section.text) <= _BARE else None
        if held is None:
            yield section
    if held is not None:
        yield held


def _passages(section: Section) -> Iterator[tuple[int, int, str]]:
    """Yield the offsets and the text of each passage of a section, without the space around it."""
    pieces = list(_pieces(section))
    done = 0
    while len(pieces) - done >= 2 * _WINDOW:  # one window stays back: the last is never a small rest
        yield from _balanced(pieces[done : done + _WINDOW])
        done += _WINDOW
    yield from _balanced(pieces[done:])


def _pieces(section: Section) -> Iterator[_Piece]:
    """Yield the sentences of a section, and the rows of its tables."""
    text, begin = section.text, 0
    for table in section.tables:
        start, end = table.start - section.start, table.end - section.start
        yield from _sentences(section, begin, start)
        for found in _LINE.finditer(text, start, end):
            yield from _row(section.start + found.start(), found.group(), table)
        begin = end
    yield from _sentences(section, begin, len(text))


def _sentences(section: Section, begin: int, end: int) -> Iterator[_Piece]:
    for first, last in sentence_spans(section.text, begin, end):
        yield from _fitting(section.start + first, section.text[first:last])


def _row(start: int, line: str, table: Table) -> Iterator[_Piece]:
    """Yield a row whole where it fits into a passage with the header, else in stretches of cells with their names."""
    size = tokens(table.header)
    piece = _piece(start, line)
    if size <= _HEADER and size + piece.tokens <= MAX_TOKENS:
        yield piece._replace(header=table.header)
        return
    cells, names = line.rstrip("\n").split(CELLS), table.header.split("\n")[-1].split(CELLS)
    if len(cells) > len(names):
        names = [""] * len(cells)
    offset = begin = 0
    held: list[str] = []  # names of the cells between begin and offset
    for place, cell in enumerate(cells):
        after = offset + len(cell) + (len(CELLS) if place + 1 < len(cells) else len(line) - offset - len(cell))
        if held and tokens(CELLS.join([*held, names[place]])) + tokens(line[begin:after]) > MAX_TOKENS:
            yield from _cells(start + begin, line[begin:offset], CELLS.join(held))
            begin, held = offset, []
        held.append(names[place])
        offset = after
    yield from _cells(start + begin, line[begin:], CELLS.join(held))


def _cells(start: int, text: str, names: str) -> Iterator[_Piece]:
    """Yield some cells of a row that is cut, apart from other pieces and small enough for their names above them."""
    size = tokens(names) if names.strip(" |") else 0
    if size > MAX_TOKENS - _STEP:
        names, size = "", 0
    for piece in _fitting(start, text):
        step = len(piece.text) if piece.tokens + size <= MAX_TOKENS else _STEP
        for place in range(0, len(piece.text), step):
            part = _piece(piece.start + place, piece.text[place : place + step])
            yield part._replace(header=names, apart=True)


def _balanced(pieces: Sequence[_Piece]) -> Iterator[tuple[int, int, str]]:
    """Yield texts of about equal length, so that no small rest is left; the end of a paragraph is the best border."""
    words_left, tokens_left = sum(piece.words for piece in pieces), sum(piece.tokens for piece in pieces)
    first = words = size = 0
    target = _target(words_left, tokens_left)
    for place, piece in enumerate(pieces):
        full = words + piece.words / 2 > target or size + piece.tokens > MAX_TOKENS
        if not full and words > 0.75 * target and words_left - words >= _SMALL:
            full = _ends_paragraph(pieces[place - 1])
        if place > first and (full or piece.apart or _other_names(pieces[first], piece)):
            yield from _stripped(pieces[first:place])
            words_left, tokens_left = words_left - words, tokens_left - size
            target = _target(words_left, tokens_left)
            first, words, size = place, 0, 0
        if place == first and piece.header:  # it stands above the passage without being part of the pieces
            size = tokens(piece.header)
            tokens_left += size
        words, size = words + piece.words, size + piece.tokens
    yield from _stripped(pieces[first:])


def _target(words: int, size: int) -> float:
    """Return how many words each passage gets when a text of this many words and tokens is shared out evenly."""
    return words / max(1, round(words / WORDS), math.ceil(size / (0.9 * MAX_TOKENS)))


def _other_names(first: _Piece, piece: _Piece) -> bool:
    """Whether the names above a passage that begins with `first` are not those of this row."""
    return bool(first.header and piece.header and first.header != piece.header)


def _ends_paragraph(piece: _Piece) -> bool:
    return piece.text[-8:].count("\n") > 1


def _fitting(start: int, text: str) -> Iterator[_Piece]:
    """Yield a sentence whole if a passage can hold it, else cut at lines, at words, between characters."""
    piece = _piece(start, text)
    if piece.tokens <= MAX_TOKENS and piece.words <= 2 * WORDS:
        yield piece
        return
    for border in (_LINE, _WORD):
        parts = (_piece(start + found.start(), found.group()) for found in border.finditer(text))
        first = next(parts)
        if len(first.text) < len(text):
            for begin, part in _grouped(first, parts):
                yield from _fitting(begin, part)
            return
    for place in range(0, len(text), _STEP):
        piece = _piece(start + place, text[place : place + _STEP])
        latin = (piece.text[0] < "\u0250") + (piece.text[-1] < "\u0250")
        yield piece._replace(tokens=piece.tokens + latin * _CUT)


def _grouped(first: _Piece, others: Iterable[_Piece]) -> Iterator[tuple[int, str]]:
    """Yield starts and texts of neighbouring pieces, joined to parts of a passage that can be balanced."""
    begin, text, words, size, *_ = first
    texts = [text]
    for piece in others:
        if words + piece.words > WORDS / _GRAIN or size + piece.tokens > MAX_TOKENS / _GRAIN:
            yield begin, "".join(texts)
            begin, texts, words, size = piece.start, [], 0, 0
        texts.append(piece.text)
        words, size = words + piece.words, size + piece.tokens
    yield begin, "".join(texts)


def _piece(start: int, text: str) -> _Piece:
    """Count a stretch of text; one that no passage can hold is not counted, for it may be most of the document."""
    if len(text) > _LONGEST:
        return _Piece(start, text, 2 * WORDS + 1, MAX_TOKENS + 1)
    return _Piece(start, text, _count_words(text), tokens(text))


def _stripped(pieces: Sequence[_Piece]) -> Iterator[tuple[int, int, str]]:
    text = "".join(piece.text for piece in pieces)
    if bare := text.strip():
        start = pieces[0].start + len(text) - len(text.lstrip())
        header = pieces[0].header
        yield start, start + len(bare), f"{header}\n{bare}" if header else bare


def _count_words(text: str) -> int:
    """Count words; in scripts that put no space between them, two wide characters count as one."""
    words = text.split()
    return len(words) if text.isascii() else sum(max(1, len(_WIDE.findall(word)) // 2) for word in words)
