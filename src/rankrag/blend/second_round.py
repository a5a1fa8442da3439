"""Training data for a second round of retrieval; the paper has none.

A question of several pages is shown with the one that a search finds first. The model learns the query that finds the
next page, and to rank with the first one in view. The order of a question's gold passages is BM25's.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from string import punctuation

from rankrag.blend.mining import Find, Mined, finder, search_text, terms_of
from rankrag.blend.sources import QuestionSet, Record
from rankrag.data.progress import Progress, quiet, watched
from rankrag.matching import contains, without_remark
from rankrag.templates import NOTHING, passage_text, with_evidence
from rankrag.types import DataKind, Example, Passage, Question

ENOUGH = 0.25
"""Share of the questions with several gold passages that are shown all of them, so that nothing is left to find."""

FOUND_WITHIN = 5
"""A query is learnt if it finds the next gold passage among this many."""

_LOOKED_AT = 50


def query_examples(
    source: QuestionSet, mined: Mined, size: int, rng: random.Random, progress: Progress = quiet
) -> Iterator[list[Example]]:
    """Yield an example for each record, in random order: what to search for next after a list of `size` passages.

    A list has the first gold passage and negatives, shuffled. The target is the next one's title and the words of the
    question that the first one leaves open, or `NOTHING` if all gold passages are in the list. Queries that cannot be
    known from the list, or do not find the next passage, are left out and counted in `dropped`.
    """
    find = finder(source, progress)
    pairs = [pair for pair in zip(source.records, mined, strict=True) if pair[0].positives]
    shuffled = rng.sample(pairs, len(pairs))
    for record, found in watched(shuffled, progress, f"{source.name}: drawing second queries", len(pairs)):
        shown, target = gold_in_order(record, find), NOTHING
        if len(shown) > size or (len(shown) > 1 and rng.random() >= ENOUGH):
            first, *others = shown
            shown, target = [first], next_query(source, record.question, first, others, find)
        negatives = [i for i in dict.fromkeys((*found, *record.negatives)) if i not in record.positives]
        ids = [*shown, *negatives][:size]
        contexts = tuple(source.passages[i] for i in rng.sample(ids, len(ids)))
        if target:
            yield [Example(DataKind.SECOND_QUERY, source.name, record.question, contexts, target)]


def gold_in_order(record: Record, find: Find) -> list[str]:
    """Return the gold passages of a record, those that its question finds first before the others."""
    if len(record.positives) < 2:
        return list(record.positives)
    places = {name: place for place, name in enumerate(find(search_text(record), _LOOKED_AT))}
    return sorted(record.positives, key=lambda name: places.get(name, _LOOKED_AT))


def next_query(source: QuestionSet, question: Question, first: str, others: Sequence[str], find: Find) -> str:
    """Return the query that leads from a first gold passage to one of the others, "" if there is none.

    Pages that the first one names come before those that the question names.
    """
    shown = source.passages[first]
    titles = {name: without_remark(source.passages[name].title) for name in others}
    for text in (shown.text, question.text):
        for name in (name for name in others if contains(text, titles[name])):
            query = " ".join([titles[name], *open_words(question, titles[name], shown)])
            if name in find(query, FOUND_WITHIN):
                return query
    source.dropped["no query leads from one gold passage to the next"] += 1
    return ""


def open_words(question: Question, title: str, shown: Passage) -> list[str]:
    """Return the words of a question that neither a title nor a passage has, without names: they are other pages'."""
    known = set(terms_of(f"{title} {passage_text(shown)}"))
    words = dict.fromkeys(word.strip(punctuation) for word in question.text.split())
    return [w for w in words if not w[:1].isupper() and (terms := set(terms_of(w))) and not terms & known]


def with_first_in_view(source: QuestionSet, progress: Progress = quiet) -> list[Record]:
    """Return the records of a source, each asked with its first gold passage in view; one without stays as it is."""
    find = finder(source, progress)
    records = []
    for record in watched(source.records, progress, f"{source.name}: finding first passages", len(source.records)):
        if record.positives:
            first = source.passages[gold_in_order(record, find)[0]]
            record = replace(record, question=with_evidence(record.question, first))
        records.append(record)
    return records
