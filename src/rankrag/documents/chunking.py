"""Text to passages of about 100 words, at sentence borders where there are any.

A passage is an exact piece of its document's text, so its offsets lead a citation back to the place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import NamedTuple

from rankrag.documents.sentences import Stretch, at_least, stretches
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
_BARE = 1_000  # characters; a section of more has a body
_WINDOW = 500  # pieces that are balanced together, so that a text of any length takes little memory
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
    """A stretch of a document's text that a passage does not cross without need: a page, or what is below a heading.

    `start` is its place in the document; its text comes in parts of any size, to be joined without anything between.
    """

    start: int
    parts: Iterable[str]
    page: int | None = None
    heading: str | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """The text that was extracted from a file: sections in order, without gaps.

    They may come from the file while they are read: go through them once, and through each one's parts before the next.
    """

    path: str
    title: str
    sections: Iterable[Section]


class _Piece(NamedTuple):
    """A sentence, or a part of one that is too long to be whole."""

    start: int
    text: str
    words: int
    tokens: int


def split(document: Document) -> Iterator[Passage]:
    """Yield the passages of a document in order; their ids are the path, "#" and a number from 0.

    Every character but white space stands in exactly one passage. A document without text yields none.
    """
    number = 0
    for section in _with_bodies(document.sections):
        for start, text in _passages(section):
            source = Source(document.path, section.page, section.heading, start, start + len(text))
            yield Passage(f"{document.path}#{number}", text, document.title, source)
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


def _with_bodies(sections: Iterable[Section]) -> Iterator[Section]:
    """Join sections that hold nothing but their heading, or nothing, with the section after them on the page."""
    held: Section | None = None
    for section in sections:
        if held is not None and held.page == section.page:
            section = replace(section, start=held.start, parts=chain(held.parts, section.parts))
        elif held is not None:
            yield held
        parts = iter(section.parts)
        head = at_least(_BARE + 1, parts)
        section = replace(section, parts=chain([head], parts))
        held = section if _is_bare(head, section.heading) else None
        if held is None:
            yield section
    if held is not None:
        yield held


def _is_bare(text: str, heading: str | None) -> bool:
    """Whether a section has no line but headings; one of more than 1,000 characters counts as having some."""
    if len(text) > _BARE:
        return False
    lines = (line.strip() for line in text.split("\n"))
    return all(not line or (heading and line.startswith("#")) for line in lines)


def _passages(section: Section) -> Iterator[tuple[int, str]]:
    """Yield where the passages of a section start, and their texts, without the space around them."""
    pieces: list[_Piece] = []
    for piece in _pieces(stretches(section.start, section.parts, longest=_LONGEST)):
        pieces.append(piece)
        if len(pieces) == 2 * _WINDOW:  # one window stays back: the last is never a small rest
            yield from _balanced(pieces[:_WINDOW])
            del pieces[:_WINDOW]
    yield from _balanced(pieces)


def _pieces(of_section: Iterator[Stretch]) -> Iterator[_Piece]:
    """Yield the pieces of sentences that come whole or in lines."""
    for stretch in of_section:
        if stretch.ends:
            yield from _fitting(stretch.start, stretch.text)
        else:
            lines = _lines(chain([stretch], of_section))
            for start, text in _grouped(next(lines), lines):
                yield from _fitting(start, text)


def _lines(of_section: Iterable[Stretch]) -> Iterator[_Piece]:
    """Yield the lines up to the end of the sentence."""
    for start, text, ends in of_section:
        yield from (_piece(start + found.start(), found.group()) for found in _LINE.finditer(text))
        if ends:
            return


def _balanced(pieces: Sequence[_Piece]) -> Iterator[tuple[int, str]]:
    """Yield texts of about equal length, so that no small rest is left; where a paragraph ends is the best border."""
    words_left, tokens_left = sum(piece.words for piece in pieces), sum(piece.tokens for piece in pieces)
    first = words = size = 0
    target = _target(words_left, tokens_left)
    for place, piece in enumerate(pieces):
        full = words + piece.words / 2 > target or size + piece.tokens > MAX_TOKENS
        if not full and words > 0.75 * target and words_left - words >= _SMALL:
            full = _ends_paragraph(pieces[place - 1])
        if place > first and full:
            yield from _stripped(pieces[first:place])
            words_left, tokens_left = words_left - words, tokens_left - size
            target = _target(words_left, tokens_left)
            first, words, size = place, 0, 0
        words, size = words + piece.words, size + piece.tokens
    yield from _stripped(pieces[first:])


def _target(words: int, size: int) -> float:
    """Return how many words each passage gets when a text of this many words and tokens is shared out evenly."""
    return words / max(1, round(words / WORDS), math.ceil(size / (0.9 * MAX_TOKENS)))


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
    begin, text, words, size = first
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


def _stripped(pieces: Sequence[_Piece]) -> Iterator[tuple[int, str]]:
    text = "".join(piece.text for piece in pieces)
    if text.strip():
        yield pieces[0].start + len(text) - len(text.lstrip()), text.strip()


def _count_words(text: str) -> int:
    """Count words; in scripts that put no space between them, two wide characters count as one."""
    words = text.split()
    return len(words) if text.isascii() else sum(max(1, len(_WIDE.findall(word)) // 2) for word in words)
