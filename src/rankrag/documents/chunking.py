"""Text to passages of about 100 words, at sentence borders where there are any.

A passage is an exact piece of its document's text, so its offsets lead a citation back to the place.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rankrag.types import Passage, Source

WORDS = 100
"""Words a passage aims at (DPR's passages of Wikipedia have 100)."""

MAX_TOKENS = 200
"""Tokens a passage has at most, by `tokens`."""

_SMALL = 40
_AHEAD = 4_000  # characters; more than a passage holds
_SENTENCE_END = re.compile(
    r"""[.!?…]+["'”’»)\]]*\s+      # a mark, closing quotes, space
      | [。！？]+[」』”’）]*\s*     # CJK marks need no space
      | \n[ \t\r]*\n\s*""",  # a paragraph ends
    re.VERBOSE,
)
_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:\w|[A-Z][a-z]?|(?:\w\.)+\w|Mr|Mrs|Ms|Dr|Prof|St|Mt|No|Nr|vs|etc|cf|ca|approx|Fig|Sec|Vol|Inc|Ltd|Jr|Sr"
    r"|bzw|usw|Nos|pp|al|Gen|Col|Lt|Rev|Hon|Jan|Feb|Aug|Sept|Oct|Nov|Dec)\.\s+$"
)
_WORD = re.compile(r"\S+")
_UNIT = re.compile(r"[A-Za-z]{1,4}|[^\sA-Za-z]")
_WIDE = re.compile(r"[\u0900-\U0010ffff]")
_EMOJI = re.compile(r"[\U00010000-\U0010ffff]")


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


def split(document: Document) -> Iterator[Passage]:
    """Yield the passages of a document in order; their ids are the path, "#" and a number from 0.

    Every character but white space stands in exactly one passage. A document without text yields none.
    """
    number = 0
    for section in _merged(document.text, document.sections):
        for start, end in _passages(document.text, section.start, section.end):
            source = Source(document.path, section.page, section.heading, start, end)
            yield Passage(f"{document.path}#{number}", document.text[start:end], document.title, source)
            number += 1


def tokens(text: str) -> int:
    """Return about how many tokens a language model makes of a text; rather too many than too few.

    Four Latin letters count as one token, a digit, a mark or a letter of another alphabet one, wide characters such as
    CJK two, emoji three: what a small byte-level vocabulary needs.
    """
    count = len(_UNIT.findall(text))
    return count if text.isascii() else count + len(_WIDE.findall(text)) + len(_EMOJI.findall(text))


def sentence_spans(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the spans of the sentences between two offsets, the space after a sentence included."""
    begin = start
    for found in _SENTENCE_END.finditer(text, start, end):
        after = found.end()
        mark = found.group()
        if mark[0] == "." and "\n" not in mark and _goes_on(text, begin, after, end):
            continue
        if after > begin:
            yield begin, after
            begin = after
    if begin < end:
        yield begin, end


def _goes_on(text: str, begin: int, after: int, end: int) -> bool:
    """Whether a full stop does not end a sentence: a small letter follows, or it shortens a word."""
    if after < end and text[after].islower():
        return True
    return bool(_ABBREVIATION.search(text, max(begin, after - 16), after))


def _merged(text: str, sections: Iterable[Section]) -> Iterator[Section]:
    """Join small sections of a page with the ones after them, while a passage can hold them."""
    held: Section | None = None
    held_words = 0
    for section in sections:
        words = _count_words(text[section.start : min(section.end, section.start + _AHEAD)])
        if held is not None and held.page == section.page and held_words < _SMALL and held_words + words <= WORDS:
            held = Section(held.start, section.end, held.page, held.heading or section.heading)
            held_words += words
            continue
        if held is not None:
            yield held
        held, held_words = section, words
    if held is not None:
        yield held


def _passages(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the spans of the passages of a section, of about equal length, without the space around them."""
    pieces = [p for span in sentence_spans(text, start, end) for p in _fitting(text, *span)]
    total = sum(words for *_, words, _ in pieces)
    size_of_all = sum(size for *_, size in pieces)
    target = total / max(1, round(total / WORDS), math.ceil(size_of_all / (0.9 * MAX_TOKENS)))
    first, held_words, held_tokens = 0, 0, 0
    for place, (_, _, words, size) in enumerate(pieces):
        full = held_words + words / 2 > target or held_tokens + size > MAX_TOKENS
        if place > first and full and held_words:
            yield from _stripped(text, pieces[first][0], pieces[place - 1][1])
            first, held_words, held_tokens = place, 0, 0
        held_words, held_tokens = held_words + words, held_tokens + size
    if pieces:
        yield from _stripped(text, pieces[first][0], pieces[-1][1])


def _fitting(text: str, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (start, end, words, tokens) of a sentence: whole if it fits, else by lines, by words, by characters."""
    words, size = _count_words(text[start:end]), tokens(text[start:end])
    if size <= MAX_TOKENS and words <= 2 * WORDS:
        yield start, end, words, size
        return
    for border in (r"[^\n]*\n+|[^\n]+", r"\s*\S+\s*"):
        spans = [found.span() for found in re.compile(border).finditer(text, start, end)]
        if len(spans) > 1:
            for span in _grouped(text, spans):
                yield from _fitting(text, *span)
            return
    step = MAX_TOKENS // 3
    for begin in range(start, end, step):
        stop = min(begin + step, end)
        yield begin, stop, 1, tokens(text[begin:stop])


def _grouped(text: str, spans: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Join neighbouring spans while a passage holds them."""
    begin, held_words, held_tokens = spans[0][0], 0, 0
    for start, end in spans:
        words, size = _count_words(text[start:end]), tokens(text[start:end])
        if start > begin and (held_words + words > WORDS or held_tokens + size > MAX_TOKENS):
            yield begin, start
            begin, held_words, held_tokens = start, 0, 0
        held_words, held_tokens = held_words + words, held_tokens + size
    yield begin, spans[-1][1]


def _stripped(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    piece = text[start:end]
    if piece.strip():
        yield end - len(piece.lstrip()), start + len(piece.rstrip())


def _count_words(text: str) -> int:
    """Count words; in scripts that put no space between them, two wide characters count as one."""
    words = text.split()
    return len(words) if text.isascii() else sum(max(1, len(_WIDE.findall(word)) // 2) for word in words)
