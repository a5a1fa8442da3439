"""Fusion: several rankings of one question become one, by the scores that their retrievers gave."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import fsum

from rankrag.retrieval import Retriever
from rankrag.types import Passage, Ranking, ScoredPassage

RANK_CONSTANT = 60
"""Added to every rank; Cormack, Clarke and Büttcher (SIGIR 2009) found 60 to serve many collections."""

DEPTH = 100
"""A ranking that is fused has at least as many passages, so that a short list is fused from long ones."""


def fuse(rankings: Sequence[Ranking]) -> Ranking:
    """Return every passage of the rankings once, best first; its score is the sum of its shares, each in [0, 1].

    The share is 1 for the best passage of a ranking and 0 for the passage at `DEPTH`; if a ranking is shorter and so
    holds all that matched, a score of 0 has the share 0. Passages are the same when their ids are. Ties keep the
    order of the first ranking, then of the second, and so on. It finds more than ranks do (docs/retrieval.md).
    """
    return _summed(rankings, _shares)


def fuse_by_rank(rankings: Sequence[Ranking]) -> Ranking:
    """Return every passage once, by the sum of 1 / (60 + rank), ranks from 1: for rankings without scores."""
    return _summed(rankings, lambda ranking: [1.0 / (RANK_CONSTANT + rank) for rank in range(1, len(ranking) + 1)])


def _summed(rankings: Sequence[Ranking], shares_of: Callable[[Ranking], Sequence[float]]) -> Ranking:
    passages: dict[str, Passage] = {}
    parts: dict[str, list[float]] = {}
    for ranking in rankings:
        for scored, share in zip(ranking, shares_of(ranking), strict=True):
            passages.setdefault(scored.passage.id, scored.passage)
            parts.setdefault(scored.passage.id, []).append(share)
    # fsum is exact, so the sum does not depend on the order of the retrievers.
    fused = (ScoredPassage(passage, fsum(parts[name])) for name, passage in passages.items())
    return tuple(sorted(fused, key=lambda scored: scored.score, reverse=True))


def _shares(ranking: Ranking) -> list[float]:
    if not ranking:
        return []
    # A full ranking was cut: what it left out scores at most as much as its last passage. Else the rest scores 0.
    zero = ranking[DEPTH - 1].score if len(ranking) >= DEPTH else min(ranking[-1].score, 0.0)
    way = ranking[0].score - zero
    return [max((scored.score - zero) / way, 0.0) if way else 1.0 for scored in ranking]


class HybridRetriever:
    """Several retrievers asked at once, their rankings fused."""

    def __init__(self, retrievers: Sequence[Retriever], *, depth: int = DEPTH) -> None:
        """Ask each of `retrievers`, the lexical one first, for at least `depth` passages."""
        self.retrievers = tuple(retrievers)
        self._depth = depth

    def retrieve(self, queries: Sequence[str], k: int) -> list[Ranking]:
        """Return for each query the `k` best passages of the fused rankings."""
        *others, last = self.retrievers
        depth = max(k, self._depth)
        with ThreadPoolExecutor(max(len(others), 1)) as pool:  # they wait for disk, server or engine most of the time
            asked = [pool.submit(retriever.retrieve, queries, depth) for retriever in others]
            ours = last.retrieve(queries, depth)  # here: torch would begin new threads in each new thread
            found = [*(ranking.result() for ranking in asked), ours]
        return [fuse(rankings)[:k] for rankings in zip(*found, strict=True)]


def search(retriever: Retriever, questions: Sequence[Sequence[str]], k: int) -> list[Ranking]:
    """Return for each question, which has one query or several, the `k` best passages.

    Of several queries each retriever's ranking of each query counts alike: that finds more than fusing one hybrid
    ranking a query (docs/retrieval.md).
    """
    if all(len(queries) == 1 for queries in questions):
        return retriever.retrieve([query for (query,) in questions], k)
    parts = retriever.retrievers if isinstance(retriever, HybridRetriever) else (retriever,)
    flat = [query for queries in questions for query in queries]
    found = [iter(part.retrieve(flat, max(k, DEPTH))) for part in parts]
    rankings = ([next(of_part) for of_part in found for _ in queries] for queries in questions)
    return [fuse(of)[:k] if len(of) > 1 else of[0][:k] for of in rankings]
