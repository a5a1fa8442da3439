"""Text to passages of about 100 words, at sentence borders where there are any.

A passage is an exact piece of its document's text, so its offsets lead a citation back to the place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

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
_WINDOW = 500  # pieces that are balanced together, so that a text of any length takes little memory
# Each pattern looks at a character a bounded number of times: "....", spaces and quotes in any number cost linear time.
_SENTENCE_END = re.compile(
    r"""[.!?…]["'”’»)\]]*+\s++      # a mark, closing quotes, space
      | [。！？]++[」』”’）]*+\s*+   # CJK marks need no space
      | \n[ \t\r]*+\n\s*+""",  # a paragraph ends
    re.VERBOSE,
)
_ABBREVIATION = re.compile(
    r"(?<![^\s(\[“\"])(?:\w|[A-Z][a-z]|(?:\w\.)+\w|Mrs|Prof|etc|vs|cf|ca|pp|al|approx|Fig|Sec|Vol|Inc|Ltd|Nos|Gen|Col|Rev"
    r"|Hon|Jan|Feb|Aug|Sept|Oct|Nov|Dec|bzw|usw)\.$"
)
_LINE = re.compile(r"[^\n]+\n*|\n+")
_WORD = re.compile(r"\S+\s*|\s+")
_UNIT = re.compile(r"[a-z]{1,4}|[A-Z][a-z]{1,3}|[A-Z]{1,2}|[^\sA-Za-z]|[^\S ]| {2,8}")
_WIDE = re.compile(r"[\u0900-\U0010ffff]")
_LONG = re.compile(r"[A-Za-z\u00c0-\u024f]{11,}")
_UNBROKEN = re.compile(r"[!-~]{30,}")
_DEAR = (  # what costs more than one token each, and how many more
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


@dataclass(frozen=True, slots=True)
class Section:
    """A stretch of a document's text that a passage does not cross without need: a page, or what is below a heading."""

    start: int
    end: int
    page: int | None = None
    heading: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """The text that was extracted from a file; its sections cover the text in order."""

    path: str
    title: str
    text: str
    sections: tuple[Section, ...]


class _Piece(NamedTuple):
    """A sentence, or a part of one that is too long to be whole."""

    start: int
    end: int
    words: int
    tokens: int


def split(document: Document) -> Iterator[Passage]:
    """Yield the passages of a document in order; their ids are the path, "#" and a number from 0.

    Every character but white space stands in exactly one passage. A document without text yields none.
    """
    number = 0
    for section in _with_bodies(document.text, document.sections):
        for start, end in _passages(document.text, section.start, section.end):
            source = Source(document.path, section.page, section.heading, start, end)
            yield Passage(f"{document.path}#{number}", document.text[start:end], document.title, source)
            number += 1


def tokens(text: str) -> int:
    """Return about how many tokens a language model makes of a text; rather too many than too few.

    Four Latin letters count as one token, or two capitals, or eight blanks; a digit, a mark, a line end or a letter of
    another alphabet one; what a small byte-level vocabulary spells in bytes two to four (`_DEAR`). Long words and
    strings without blanks are mostly no English and count more. rankrag-mini's tokenizer makes no more than this of
    any script that was tried, but up to a third more of languages in bare Latin letters, such as Indonesian.
    """
    count = len(_UNIT.findall(text)) + sum(math.ceil(len(word) / 6) for word in _LONG.findall(text))
    count += sum(math.ceil(len(word) / 4) for word in _UNBROKEN.findall(text))
    if text.isascii():
        return count
    return count + sum(more * len(dear.findall(text)) for dear, more in _DEAR)


def sentence_spans(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the spans of the sentences between two offsets, the space after a sentence included."""
    begin = start
    for found in _SENTENCE_END.finditer(text, start, end):
        after = found.end()
        mark = found.group()
        if mark[0] == "." and mark.count("\n") < 2 and _goes_on(text, begin, found.start() + 1, after, end):
            continue
        yield begin, after
        begin = after
    if begin < end:
        yield begin, end


def _goes_on(text: str, begin: int, stop: int, after: int, end: int) -> bool:
    """Whether the full stop before `stop` ends no sentence: a small letter follows, or it shortens a word."""
    if after < end and text[after].islower():
        return True
    return bool(_ABBREVIATION.search(text, max(begin, stop - 12), stop))


def _with_bodies(text: str, sections: Iterable[Section]) -> Iterator[Section]:
    """Join sections that hold nothing but their heading, or nothing, with the section after them on the page."""
    held: Section | None = None
    for section in sections:
        if held is not None and held.page == section.page and _is_bare(text, held):
            held = Section(held.start, section.end, section.page, section.heading)
            continue
        if held is not None:
            yield held
        held = section
    if held is not None:
        yield held


def _is_bare(text: str, section: Section) -> bool:
    """Whether a section has no line but headings; one of more than 1,000 characters counts as having some."""
    if section.end - section.start > 1_000:
        return False
    lines = (line.strip() for line in text[section.start : section.end].split("\n"))
    return all(not line or (section.heading and line.startswith("#")) for line in lines)


def _passages(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the spans of the passages of a section, without the space around them."""
    pieces: list[_Piece] = []
    for begin, stop in sentence_spans(text, start, end):
        for piece in _fitting(text, begin, stop):
            pieces.append(piece)
            if len(pieces) == 2 * _WINDOW:  # one window stays back: the last is never a small rest
                yield from _balanced(text, pieces[:_WINDOW])
                del pieces[:_WINDOW]
    yield from _balanced(text, pieces)


def _balanced(text: str, pieces: Sequence[_Piece]) -> Iterator[tuple[int, int]]:
    """Yield spans of about equal length, so that no small rest is left; where a paragraph ends is the best border."""
    words_left, tokens_left = sum(piece.words for piece in pieces), sum(piece.tokens for piece in pieces)
    first = words = size = 0
    target = _target(words_left, tokens_left)
    for place, piece in enumerate(pieces):
        full = words + piece.words / 2 > target or size + piece.tokens > MAX_TOKENS
        if not full and words > 0.75 * target and words_left - words >= _SMALL:
            full = _ends_paragraph(text, pieces[place - 1])
        if place > first and full:
            yield from _stripped(text, pieces[first].start, piece.start)
            words_left, tokens_left = words_left - words, tokens_left - size
            target = _target(words_left, tokens_left)
            first, words, size = place, 0, 0
        words, size = words + piece.words, size + piece.tokens
    if pieces:
        yield from _stripped(text, pieces[first].start, pieces[-1].end)


def _target(words: int, size: int) -> float:
    """Return how many words each passage gets when a text of this many words and tokens is shared out evenly."""
    return words / max(1, round(words / WORDS), math.ceil(size / (0.9 * MAX_TOKENS)))


def _ends_paragraph(text: str, piece: _Piece) -> bool:
    return text[max(piece.start, piece.end - 8) : piece.end].count("\n") > 1


def _fitting(text: str, start: int, end: int) -> Iterator[_Piece]:
    """Yield a sentence whole if a passage can hold it, else cut at lines, at words, between characters."""
    piece = _piece(text, start, end)
    if piece.tokens <= MAX_TOKENS and piece.words <= 2 * WORDS:
        yield piece
        return
    for border in (_LINE, _WORD):
        parts = (_piece(text, *found.span()) for found in border.finditer(text, start, end))
        first = next(parts)
        if first.end < end:
            for begin, stop in _grouped(first, parts):
                yield from _fitting(text, begin, stop)
            return
    for begin in range(start, end, _STEP):
        part = _piece(text, begin, min(begin + _STEP, end))
        latin = (text[part.start] < "\u0250") + (text[part.end - 1] < "\u0250")
        yield part._replace(tokens=part.tokens + latin * _CUT)


def _grouped(first: _Piece, others: Iterable[_Piece]) -> Iterator[tuple[int, int]]:
    """Yield the spans of neighbouring pieces, joined to parts of a passage that can be balanced."""
    begin, _, words, size = first
    stop = first.end
    for piece in others:
        if words + piece.words > WORDS / _GRAIN or size + piece.tokens > MAX_TOKENS / _GRAIN:
            yield begin, stop
            begin, words, size = piece.start, 0, 0
        stop, words, size = piece.end, words + piece.words, size + piece.tokens
    yield begin, stop


def _piece(text: str, start: int, end: int) -> _Piece:
    """Count a stretch of text; one that no passage can hold is not counted, for it may be most of the document."""
    if end - start > _LONGEST:
        return _Piece(start, end, 2 * WORDS + 1, MAX_TOKENS + 1)
    part = text[start:end]
    return _Piece(start, end, _count_words(part), tokens(part))


def _stripped(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    piece = text[start:end]
    if piece.strip():
        yield end - len(piece.lstrip()), start + len(piece.rstrip())


def _count_words(text: str) -> int:
    """Count words; in scripts that put no space between them, two wide characters count as one."""
    words = text.split()
    return len(words) if text.isascii() else sum(max(1, len(_WIDE.findall(word)) // 2) for word in words)
