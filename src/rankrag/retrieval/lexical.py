"""Lexical retrieval: how text becomes terms, and BM25 over them.

The analysis is ours and pinned here; the index only splits at spaces. So a score can be checked against any exact
BM25 that is given the same terms.
"""

from __future__ import annotations

import math
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import Stemmer

if TYPE_CHECKING:
    from lancedb.table import Table

K1 = 1.2
B = 0.75
"""BM25's constants. LanceDB builds both in and offers no option; the reference in the tests takes them from here."""

Hit = tuple[int, float]
"""A row of the index and its score; higher is better."""

Scan = Callable[[Sequence[str], int], Iterable[tuple[int, str, str]]]
"""Finds, for some strings, at most so many rows that hold all of them: the row, the passage's id, and its text."""

STOP_WORDS = frozenset(
    "a an the this that these those and or but nor not no if then than so as of at by for from in into on to with "  # noqa: SIM905
    "is are was were be been am do does did has have had it its he she they his her their there which what who whom "
    "how when where why will would can could".split()
)

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"  # Hangul
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"  # kana
    "\u2e80-\u2fdf\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
_MARKS = "\u0300-\u036f\u0483-\u0487\u06d6-\u06ed\u0900-\u0963\u0971-\u0dff"
_LETTER = rf"(?:(?![{UNSPACED}])[^\W_]|[{_MARKS}])"
_NAMES = r"(?<!\w)(?:[a-z]\+\+|[a-z]\#|\.net)(?!\w)"  # C++, C#, .NET
_GROUPED = r"(?<![\w.,])\d{1,3}(?:(?:,\d{3})+|(?:['’]\d{3})+|(?:\.\d{3}){2,})(?![\d,])"
_ASCII_RUNS = re.compile(rf"({_NAMES}|{_GROUPED})|([a-z0-9]+(?:[-_][a-z0-9]+)*)(?:'s\b)?")
_RUNS = re.compile(rf"({_NAMES}|{_GROUPED})|({_LETTER}+(?:[-_‐]{_LETTER}+)*)(?:['’]s\b)?|([{UNSPACED}]+)")
_OPTIONS = re.compile(r"(?<![\w-])--?([a-z][a-z0-9]*(?:[-_][a-z0-9]+)*)")
_FORMAT = re.compile(
    "[\u00ad\u034f\u061c\u0640\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufe00-\ufe0f\ufeff]"
)
_RAISED = re.compile("(?<=[0-9])([⁰¹²³⁴-⁹⁻]+)")
_VOWEL_POINTS = re.compile("[\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670]")
_ACCENTED = re.compile("(?<=[a-z\u0370-\u03ff\u1f00-\u1fff])[\u0300-\u036f]+|(?<=[\u0430-\u045f])[\u0300\u0301]+")
_OTHER_LETTERS = str.maketrans(
    {"ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ı": "i", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th", "ŋ": "n", "ё": "е"}
)
_KEPT_TERMS = 1 << 17
_SCANNED = 2_000  # passages with the words of a query that has no terms; others are not looked at


def analyse(text: str) -> list[str]:
    """Return the terms of a text, with repeats; a query and a passage are treated alike.

    Words are runs of letters and digits, folded (NFKC, case, accents), without invisible characters, a possessive 's
    and English stop words, stemmed by Snowball's English stemmer. A compound such as "RTX-4090" or "max_draft" gives
    its parts and, joined, the whole; "1,250,000" is one number; C++, C# and .NET are terms of their own, and so is an
    option such as "--jobs" or "-jobs", beside the terms of its words. Scripts that put no spaces between words give
    overlapping pairs of characters; one such character alone is a term. A text of stop words only has no terms.
    """
    folded = text.lower() if text.isascii() else _folded(text)
    runs = _ASCII_RUNS if folded.isascii() else _RUNS
    terms: list[str] = []
    for match in runs.finditer(folded):
        word = match[2]
        if word:
            if (term := _KNOWN.get(word)) is None:
                term = _known(word)
            terms += term
        elif name := match[1]:
            terms.append("".join(c for c in name if c not in ",.'’") if name[0].isdigit() else name)
        else:
            unspaced = match[3]
            terms += [unspaced[i : i + 2] for i in range(max(1, len(unspaced) - 1))]
    if "-" in folded:
        terms += [f"-{name}" for name in _OPTIONS.findall(folded)]
    return terms


_KNOWN: dict[str, tuple[str, ...]] = {}
"""Terms of words that were met; passages share most of theirs."""


def _known(word: str) -> tuple[str, ...]:
    """Return the terms of a word or a compound, and remember them."""
    parts = re.split(r"[-_‐]", word)
    terms = [stemmer().stemWord(part) for part in parts if part not in STOP_WORDS]
    if len(parts) > 1:
        terms.append(stemmer().stemWord("".join(parts)))
    if len(_KNOWN) >= _KEPT_TERMS:
        _KNOWN.clear()
    found = _KNOWN[word] = tuple(terms)
    return found


def _folded(text: str) -> str:
    """Return text without differences that people do not type: case, forms, accents, invisible characters."""
    text = _FORMAT.sub("", _RAISED.sub(r" \1", text))
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    folded = _ACCENTED.sub("", unicodedata.normalize("NFD", folded))
    return unicodedata.normalize("NFC", _VOWEL_POINTS.sub("", folded)).translate(_OTHER_LETTERS)


def bm25_weights(
    counts: npt.NDArray[np.uint32], lengths: npt.NDArray[np.uint32], *, passages: int, mean_length: float
) -> npt.NDArray[np.float64]:
    """Return what a term adds to the BM25 score of each passage that has it: the formula that LanceDB builds in.

    `counts` says how often each of them has it, `lengths` how many terms it has in all. The statistics are those of
    the whole index: the number of its passages, and their mean length.
    """
    idf = math.log(1 + (passages - len(counts) + 0.5) / (len(counts) + 0.5))
    return idf * (K1 + 1) * counts / (counts + K1 * (1 - B + B * lengths / mean_length))


def bm25_search(table: Table, queries: Sequence[str], k: int) -> list[list[Hit]]:
    """Return for each query the `k` rows of `table` that share most with it, and others that share the last place.

    Their order says nothing: ties go by the passages' ids, which are read with the passages.

    A query is a bag of its terms, never query syntax. One of stop words only finds the passages that have them in this
    order, else all of them. Rows not yet in the text index are found as well, more slowly, and scored by statistics
    that differ a little until the index is refreshed.
    """
    if len(queries) == 1:
        return [_search(table, queries[0], k)]
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(lambda query: _search(table, query, k), queries))


def _search(table: Table, query: str, k: int) -> list[Hit]:
    bag = " ".join(dict.fromkeys(analyse(query)))
    if k <= 0:
        return []
    return _search_bag(table, bag, k) if bag else search_words(query, k, partial(_scan, table))


def _search_bag(table: Table, bag: str, k: int) -> list[Hit]:
    from lancedb.query import MatchQuery

    limit = k + 8  # a few more than asked, to see whether the last place is shared
    while True:
        search = table.search(MatchQuery(bag, "terms"), query_type="fts").select(["_score"])
        found = search.with_row_id(True).limit(limit).to_arrow()
        hits = list(zip(found["_rowid"].to_pylist(), found["_score"].to_pylist(), strict=True))
        if len(hits) < limit or hits[-1][1] < hits[k - 1][1]:
            last = hits[:k][-1][1] if hits else 0.0
            best = [hit for hit in hits if hit[1] >= last]
            return best if len(best) <= k + _TIES else _first_by_id(table, best, k)
        limit *= 4


_TIES = 100
"""Rows beyond `k` that share the last place and whose passages are all read; of more, the ids are read first."""


def _first_by_id(table: Table, hits: Sequence[Hit], k: int) -> list[Hit]:
    rows = table.take_row_ids([row for row, _ in hits]).select(["id"]).with_row_id().to_arrow()
    names = dict(zip(rows["_rowid"].to_pylist(), rows["id"].to_pylist(), strict=True))
    return sorted(hits, key=lambda hit: (-hit[1], names[hit[0]]))[:k]


def search_words(query: str, k: int, scan: Scan) -> list[Hit]:
    """Return rows for a query of stop words, which are no terms of the index, by a scan of the texts.

    `scan` finds the rows whose title and text, in small letters, hold all of some strings.
    """
    words = re.findall(r"[^\W_]+", _folded(query))
    if not words:
        return []
    phrase = " ".join(words)
    for wanted in ([phrase], list(dict.fromkeys(words))):
        scored = [(_share(wanted, text), name, row) for row, name, text in scan(wanted, max(_SCANNED, k))]
        best = sorted((hit for hit in scored if hit[0]), key=lambda hit: (-hit[0], hit[1]))
        if best:
            return [(row, score) for score, _, row in best[:k]]
    return []


def _scan(table: Table, wanted: Sequence[str], limit: int) -> list[tuple[int, str, str]]:
    where = " AND ".join(f"lower(concat(title, ' ', text)) LIKE '%{part}%'" for part in wanted)
    search = table.search().where(where).select(["id", "title", "text"])
    found = search.with_row_id(True).limit(limit).to_arrow().to_pylist()
    return [(row["_rowid"], row["id"], f"{row['title']} {row['text']}") for row in found]


def _share(wanted: Sequence[str], text: str) -> float:
    """Return the share of a text's words that are wanted ones; 0 if one of them is missing."""
    words = " ".join(re.findall(r"[^\W_]+", _folded(text)))
    counts = [f" {words} ".count(f" {part} ") for part in wanted]
    return sum(counts) / (1 + words.count(" ")) if all(counts) else 0.0


@cache
def stemmer() -> Stemmer.Stemmer:
    """Return Snowball's English stemmer."""
    return Stemmer.Stemmer("english")
