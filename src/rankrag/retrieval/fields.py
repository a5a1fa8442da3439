"""The fields of a passage as one bag of BM25 terms: its title, its headings, the names it explains, its text.

A field counts by repeating its terms before BM25's saturation (BM25F; Robertson, Zaragoza and Taylor, CIKM 2004), so
that one list of postings and one length a passage serve all fields. The weights were chosen on training questions;
docs/retrieval.md has the figures.
"""

from __future__ import annotations

import re

from rankrag.retrieval.lexical import analyse
from rankrag.types import Passage

TITLE, HEADING, NAMES = 3, 1, 2
"""How often the terms of a title, of the heading path and of explained names count; those of the text count once."""

_LONGEST, _WORDS = 60, 6
_NAME = re.compile(
    r"-{1,2}\w"  # an option: --jobs=njobs
    r"|\w+[_.]\w"  # a compound: max_connections, gc.auto
    r"|[A-Z]{2,}"  # a command or a code: VACUUM, ERR_TIMEOUT
    r"|\S+ \(\w"  # a word and its type: port (integer)
    r"|\S+::$"  # AsciiDoc's way to begin a definition
)


def passage_terms(passage: Passage) -> list[str]:
    """Return the BM25 terms of a passage with repeats, as `analyse` makes them."""
    heading = passage.source.heading if passage.source else None
    terms = analyse(passage.title) * TITLE + analyse(heading or "") * HEADING
    return terms + analyse(passage.text) + analyse(explained_names(passage.text)) * NAMES


def explained_names(text: str) -> str:
    """Return the lines of a text that name what the text below explains, as manuals list settings and options.

    Such a line is short, begins with a name and does not end as a sentence does.
    """
    lines = (line.strip() for line in text.split("\n"))
    return "\n".join(line for line in lines if _names(line))


def _names(line: str) -> bool:
    if not line or len(line) > _LONGEST or not _NAME.match(line) or len(line.split()) > _WORDS:
        return False
    return line.endswith("::") or line[-1] not in ".;:,"
