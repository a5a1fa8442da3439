"""A second round of retrieval, for questions whose second page is named in the first one and not in the question.

"Where was the director of Casablanca born?" finds the page of the film, which names the director. The second round
searches for the names in that page. It needs no model. docs/retrieval.md has the figures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice, zip_longest
from typing import Literal

from rankrag.matching import contains, without_remark
from rankrag.retrieval import Retriever
from rankrag.retrieval.fields import passage_terms
from rankrag.retrieval.fusion import HybridRetriever, search
from rankrag.retrieval.lexical import analyse
from rankrag.types import Passage, Ranking, ScoredPassage, SecondRound

Rounds = Literal[1, 2, "auto"]
"""How often a question is searched for: "auto" decides for each question (`after_rounds`)."""

LOOKED_AT = 5
"""Passages of the first round among which those that the question names are looked for."""

STARTS = 3
"""Passages that the second round starts from, at most; each gives a query of its own."""

NAMES = 60
"""Names in a query, at most: a passage may be nothing but a list of them."""

LONG = 9
"""Different words of a question that asks for more than one page. This and the next two: fitted on train."""

OPEN_IF_LED_ON, OPEN_IF_NAMED = 2, 1
"""Words of a shorter question that its first passage lacks, at least, where a second round begins."""

LINKED_WITHIN = 5
"""Passages of a second query's ranking among which a linked page counts as a sign of an open question."""

LINK_WORDS = 2
"""Words in the title of such a page, at least: a single word stands in a passage too often by chance."""

NAMED_WITHIN = 10
"""Passages of the first round among which another page that the question names is looked for."""

_WORD = re.compile(r"\w\w+")


@dataclass(frozen=True, slots=True)
class Retrieved:
    """What one or two rounds found for a question; `second` is None if there was one round."""

    ranking: Ranking
    second: SecondRound | None = None


def search_rounds(
    retriever: Retriever, asked: Sequence[tuple[str, Sequence[str]]], k: int, rounds: Rounds
) -> list[Retrieved]:
    """Return what is found for each question, given as its text and its queries: `k` passages a round at most.

    Of a hybrid retriever the second round asks the lexical one alone: among names a vector finds less than words do.
    """
    first = search(retriever, [queries for _, queries in asked], k)
    by_names = retriever.retrievers[0] if isinstance(retriever, HybridRetriever) else retriever
    found = []
    for (question, _), ranking in zip(asked, first, strict=True):
        # one at a time: in a batch with padding a query's vector changes in its last bits
        again = {query: by_names.retrieve([query], k)[0] for query in second_queries(question, ranking, rounds)}
        found.append(after_rounds(question, ranking, again, k, rounds))
    return found


def second_queries(question: str, first: Ranking, rounds: Rounds = 2) -> tuple[str, ...]:
    """Return the queries of the second round; none if the first one found nothing, or for "auto" all words.

    Each starts from one passage, and holds the names in it and the words of the question that it lacks.
    """
    if rounds == 1 or not first or (rounds == "auto" and not lacking(question, first[0].passage)):
        return ()
    asked = set(analyse(question))
    queries = dict.fromkeys(_query(question, passage) for passage in starts(question, first))
    return tuple(query for query in queries if set(analyse(query)) not in (set(), asked))


def after_rounds(question: str, first: Ranking, again: dict[str, Ranking], k: int, rounds: Rounds) -> Retrieved:
    """Return what both rounds found, given the rankings of the second by query.

    For "auto" the second round counts only if the question is open (`is_open`), else it is as if it had not been.
    """
    if rounds == "auto" and not is_open(question, first, again):
        return Retrieved(first)
    return unite(question, first, again, k)


def is_open(question: str, first: Ranking, again: dict[str, Ranking]) -> bool:
    """Whether a question needs more than the first round found, by the words that its best passage lacks.

    Of a `LONG` question one is enough. If a second query leads to a page that its start names, or if the question names
    another page, `OPEN_IF_LED_ON` are; if the first of these is so and the question names the best, `OPEN_IF_NAMED`.
    """
    words = lacking(question, first[0].passage) if first else 0
    if not words:
        return False
    if is_long(question) or (words >= OPEN_IF_LED_ON and names_another(question, first)):
        return True
    enough = OPEN_IF_NAMED if is_named(question, first[0].passage) else OPEN_IF_LED_ON
    return words >= enough and is_linked(starts(question, first), again)


def is_long(question: str) -> bool:
    """Whether the question has `LONG` different words or more."""
    return len(set(analyse(question))) >= LONG


def is_linked(begun: Sequence[Passage], again: dict[str, Ranking]) -> bool:
    """Whether a second query finds a linked page among `LINKED_WITHIN`, with `LINK_WORDS` in its title or more."""
    found = (c for ranking in again.values() for c in linked_pages(begun, ranking[:LINKED_WITHIN]))
    return any(len(analyse(without_remark(c.passage.title))) >= LINK_WORDS for c in found)


def linked_pages(begun: Sequence[Passage], ranking: Ranking) -> Ranking:
    """Return the other pages of a ranking whose titles stand in the passages that the second round starts from."""
    own = {without_remark(passage.title).casefold() for passage in begun}
    return tuple(
        c
        for c in ranking
        if (title := without_remark(c.passage.title)).casefold() not in own
        and any(contains(p.text, title) for p in begun)
    )


def names_another(question: str, first: Ranking) -> bool:
    """Whether the question names a page beside the best one, with a word in its title that the best one lacks."""
    known = set(passage_terms(first[0].passage))
    titles = (without_remark(c.passage.title) for c in named_pages(question, first[1:NAMED_WITHIN]))
    return any(not known.issuperset(analyse(title)) for title in titles)


def named_pages(question: str, ranking: Ranking) -> Ranking:
    """Return the passages whose title stands in the question, word after word."""
    return tuple(c for c in ranking if contains(question, without_remark(c.passage.title)))


def lacking(question: str, passage: Passage) -> int:
    """Return how many different words of the question the passage lacks."""
    return len(set(analyse(question)) - set(passage_terms(passage)))


def is_named(question: str, passage: Passage) -> bool:
    """Whether the question has all words of the passage's title; a remark in brackets at its end does not count."""
    title = set(analyse(without_remark(passage.title)))
    return bool(title) and title <= set(analyse(question))


def starts(question: str, first: Ranking) -> list[Passage]:
    """Return the passages that the second round starts from: those that the question names, else the best one."""
    named = (c.passage for c in first[:LOOKED_AT] if is_named(question, c.passage))
    return list(islice(named, STARTS)) or [first[0].passage]


def _query(question: str, passage: Passage) -> str:
    names = _lacking((word for word in _WORD.findall(passage.text) if word[0].isupper()), analyse(question))
    return " ".join([*islice(names, NAMES), *_lacking(question.split(), passage_terms(passage))])


def _lacking(words: Iterable[str], terms: Iterable[str]) -> list[str]:
    """Return the words, each once, that have terms and none of these."""
    known = set(terms)
    own = {word: set(analyse(word)) for word in words}
    return [word for word, found in own.items() if found and not found & known]


def unite(question: str, first: Ranking, again: dict[str, Ranking], k: int) -> Retrieved:
    """Return the passages of all searches in turn, each once: all of the first round and at most `k` others.

    In each search the pages that led to it come first: of the first `NAMED_WITHIN` of the first round those that the
    question names, and of the second round's rankings (`again`, by query) the linked ones. Scores of different queries
    do not compare, so a score is 1 / place. Without a second round the ranking stays as it is.
    """
    if not again:
        return Retrieved(first)
    begun = starts(question, first)
    rankings = [_one_after_other(linked_pages(begun, ranking), ranking) for ranking in again.values()]
    known = {c.passage.id for c in first}
    fresh = list(islice((c for c in _in_turn(rankings) if c.passage.id not in known), k))
    kept = known | {c.passage.id for c in fresh}
    before = _one_after_other(named_pages(question, first[:NAMED_WITHIN]), first)
    ranking = [c for c in _in_turn([before, *rankings]) if c.passage.id in kept]
    united = tuple(replace(c, score=1 / place) for place, c in enumerate(ranking, start=1))
    return Retrieved(united, SecondRound(tuple(again), frozenset(c.passage.id for c in fresh)))


def _in_turn(rankings: Iterable[Sequence[ScoredPassage]]) -> list[ScoredPassage]:
    return _each_once(c for row in zip_longest(*rankings) for c in row if c is not None)


def _one_after_other(*rankings: Ranking) -> list[ScoredPassage]:
    return _each_once(chain.from_iterable(rankings))


def _each_once(passages: Iterable[ScoredPassage]) -> list[ScoredPassage]:
    found: dict[str, ScoredPassage] = {}
    for c in passages:
        found.setdefault(c.passage.id, c)
    return list(found.values())
