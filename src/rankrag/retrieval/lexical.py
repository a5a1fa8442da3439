"""Lexical retrieval: how text becomes terms, and BM25 over them.

The analysis is ours and pinned here; the index only splits at spaces. So a score can be checked against any exact
BM25 that is given the same terms.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

import Stemmer

if TYPE_CHECKING:
    from lancedb.table import Table

K1 = 1.2
B = 0.75
"""BM25's constants. LanceDB builds both in and offers no option; the reference in the tests takes them from here."""

Hit = tuple[int, float]
"""A row of the index and its score; higher is better."""

STOP_WORDS = frozenset(
    "a an the this that these those and or but nor not no if then than so as of at by for from in into on to with "  # noqa: SIM905
    "is are was were be been am do does did has have had it its he she they his her their there which what who whom "
    "how when where why will would can could".split()
)

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Burmese, Khmer
    "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"  # Hangul
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff"  # kana
    "\u2e80-\u2fdf\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
_MARKS = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0900-\u0963\u0971-\u0dff"
)
_RUNS = re.compile(rf"([{_UNSPACED}]+)|((?:(?![{_UNSPACED}])[^\W_]|[{_MARKS}])+)(?:['’]s\b)?")


def analyse(text: str) -> list[str]:
    """Return the terms of a text, in order, with repeats; a query and a passage are treated alike.

    Words are runs of letters and digits, folded (NFKC, case), without a possessive 's, without English stop words,
    stemmed by Snowball's English stemmer. Scripts that put no spaces between words give overlapping pairs of
    characters; one such character alone is a term. A text of stop words only has no terms.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    terms: list[str] = []
    for match in _RUNS.finditer(folded):
        unspaced, word = match.groups()
        if unspaced:
            terms += [unspaced[i : i + 2] for i in range(max(1, len(unspaced) - 1))]
        elif word not in STOP_WORDS:
            terms.append(_stemmer().stemWord(word))
    return terms


def bm25_search(table: Table, queries: Sequence[str], k: int) -> list[list[Hit]]:
    """Return for each query at most `k` rows of `table` that share a term with it, best first, ties by passage id.

    A query is a bag of its terms, never query syntax; without terms it finds nothing. Rows not yet in the text index
    are found as well, more slowly, and scored by statistics that differ a little until the index is refreshed.
    """
    bags = [" ".join(dict.fromkeys(analyse(query))) for query in queries]
    if len(bags) == 1:
        return [_search_bag(table, bags[0], k)]
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(lambda bag: _search_bag(table, bag, k), bags))


def _search_bag(table: Table, bag: str, k: int) -> list[Hit]:
    from lancedb.query import MatchQuery

    limit = k + 8  # a few more than asked, to see whether the last place is shared
    while bag and k > 0:
        search = table.search(MatchQuery(bag, "terms"), query_type="fts").select(["id", "_score"])
        found = search.with_row_id(True).limit(limit).to_arrow().to_pylist()
        if len(found) < limit or found[-1]["_score"] < found[k - 1]["_score"]:
            found.sort(key=lambda hit: (-hit["_score"], hit["id"]))
            return [(hit["_rowid"], hit["_score"]) for hit in found[:k]]
        limit *= 4
    return []


@cache
def _stemmer() -> Stemmer.Stemmer:
    return Stemmer.Stemmer("english")
