"""The sentences of a text that comes in parts: all are read as if they were one, and few are held at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

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
_NEXT_LINE = re.compile(r"\n(?=\S)")


class Stretch(NamedTuple):
    """A sentence and its place in the document, or lines of a long one; `ends` where the sentence does."""

    start: int
    text: str
    ends: bool


def stretches(start: int, parts: Iterable[str], *, longest: int) -> Iterator[Stretch]:
    """Yield the sentences of a text that starts at this place of a document, without gaps.

    One of more than `longest` characters may come in several stretches, each but the last of whole lines; a line is in
    one stretch, so that memory holds the longest line.
    """
    coming, text, begin, base = iter(parts), "", 0, start
    while more := at_least(max(1, len(text)), coming):  # as much again: a text without borders takes linear time
        text += more
        *whole, (rest, _) = sentence_spans(text, begin, len(text))  # what comes may move the end of the last alone
        yield from (Stretch(base + first, text[first:end], True) for first, end in whole)
        if len(text) - rest > longest:  # nothing that ends a sentence reaches over the first character of a line
            cut = max((found.end() for found in _NEXT_LINE.finditer(text, rest)), default=rest)
            if cut > rest:
                yield Stretch(base + rest, text[rest:cut], False)
            rest = cut
        begin = min(rest, 1)  # an abbreviation is known by the character before it
        base += rest - begin
        text = text[rest - begin :]
    if text:
        yield Stretch(base + begin, text[begin:], True)


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


def at_least(size: int, parts: Iterator[str]) -> str:
    """Return the next parts, joined to a text of this many characters or more; of less where there are no more."""
    taken, length = list[str](), 0
    for part in parts:
        taken.append(part)
        length += len(part)
        if length >= size:
            break
    return "".join(taken)
