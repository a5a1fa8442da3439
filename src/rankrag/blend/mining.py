"""BM25 negatives: for every question the passages that look right and are not (paper, section 4.2.1).

Some only look like negatives: they contain an answer, or repeat a passage that answers. They are left out.
"""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rankrag.blend.sources import QuestionSet, Record
from rankrag.data.progress import Progress, quiet, watched
from rankrag.errors import MissingExtraError
from rankrag.matching import contains_any, near_duplicate
from rankrag.retrieval.lexical import K1, STOP_WORDS, UNSPACED, B, stemmer
from rankrag.templates import passage_text

_MARKS = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0900-\u0963\u0971-\u0dff"
)
_RUNS = re.compile(rf"([{UNSPACED}]+)|((?:(?![{UNSPACED}])[^\W_]|[{_MARKS}])+)(?:['’]s\b)?")

Mined = Sequence[Sequence[str]]
"""For each record of a source the ids of its hard negatives, best first."""

Find = Callable[[str, int], list[str]]
"""Returns the ids of the k best passages for a text, best first."""


def mine(source: QuestionSet, depth: int, progress: Progress = quiet) -> list[tuple[str, ...]]:
    """Return, for each record, ids of the `depth` best BM25 passages of the source that do not answer it, best first.

    Ties keep the order of the source's passages; one that shares no term with the question is not found. Left out, and
    counted in `dropped`, are gold passages, passages that contain an answer, and near-duplicates of a gold passage.
    """
    if not source.passages or not depth:
        return [() for _ in source.records]
    find = finder(source, progress)
    mined = []
    for record in watched(source.records, progress, f"{source.name}: mining negatives", len(source.records)):
        # some of the best are no negatives: the gold passages and those that only look like negatives
        found = find(search_text(record), depth + 10)
        mined.append(tuple(i for i in found if is_negative(source, record, i, "mined"))[:depth])
    return mined


def finder(source: QuestionSet, progress: Progress = quiet) -> Find:
    """Return a BM25 search over the source's passages; ties keep their order, and a text without terms finds none."""
    ids, index = list(source.passages), _index(source, progress)

    def find(text: str, k: int) -> list[str]:
        terms = index.get_tokens_ids(terms_of(text)) if index else []
        return [ids[place] for place in best(index.get_scores_from_ids(terms), k)] if terms else []

    return find


def best(scores: npt.NDArray[np.float32], k: int) -> list[int]:
    """Return the places of the `k` highest scores above 0, best first, ties by place.

    numpy's own partial sort orders ties by what the processor can do, so that a blend would differ between machines;
    here it only finds the k-th score.
    """
    places = np.flatnonzero(scores > 0)
    if len(places) > k:
        kth = np.partition(scores[places], -k)[-k]
        places = places[scores[places] >= kth]
    return [int(place) for place in places[np.argsort(-scores[places], kind="stable")][:k]]


def is_negative(source: QuestionSet, record: Record, passage_id: str, found: str) -> bool:
    """Whether a passage may serve as a negative of a record.

    Why another may not is counted in `dropped` under how it was `found`, "mined" or "random"; a gold one is no loss.
    """
    if passage_id in record.positives:
        return False
    text = source.passages[passage_id].text
    if passage_id in record.unclear:
        why = "relevance not known"
    elif contains_any(text, record.question.answers):
        why = "contains an answer"
    elif any(near_duplicate(text, source.passages[i].text) for i in record.positives):
        why = "nearly equals a gold passage"
    else:
        return True
    source.dropped[f"{found} negative: {why}"] += 1
    return False


def terms_of(text: str) -> list[str]:
    """Return the terms of a text, in order, with repeats.

    They are those of the first `retrieval.lexical.analyse`, which has learnt compounds, accents and codes since: mining
    must give the same negatives as ever, or a seed would no longer give the same blend.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    terms: list[str] = []
    for match in _RUNS.finditer(folded):
        unspaced, word = match.groups()
        if unspaced:
            terms += [unspaced[i : i + 2] for i in range(max(1, len(unspaced) - 1))]
        elif word not in STOP_WORDS:
            terms.append(stemmer().stemWord(word))
    return terms


def search_text(record: Record) -> str:
    """Return the search text of a record: the two turns before the question, if any, and the question."""
    return " ".join([m.content for m in record.question.history[-2:]] + [record.question.text])


def _index(source: QuestionSet, progress: Progress) -> Any:
    """Return an index of the source's passages, None where these have no terms.

    Terms go in as numbers, by first appearance: lists of words would take gigabytes for a million passages.
    """
    try:
        import bm25s
    except ImportError:
        raise MissingExtraError('mining negatives needs bm25s; install it with: pip install "rankrag[blend]"') from None
    numbers: dict[str, int] = {}
    terms = [
        array("i", [numbers.setdefault(term, len(numbers)) for term in terms_of(passage_text(passage))])
        for passage in watched(
            source.passages.values(), progress, f"{source.name}: indexing passages", len(source.passages)
        )
    ]
    index = bm25s.BM25(k1=K1, b=B, method="lucene")
    if numbers:
        index.index((terms, numbers), create_empty_token=False, show_progress=False)
    return index if numbers else None
