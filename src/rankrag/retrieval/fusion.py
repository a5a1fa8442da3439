"""Reciprocal rank fusion: several rankings of one query become one."""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum

from rankrag.retrieval import Retriever
from rankrag.types import Passage, Ranking, ScoredPassage

RANK_CONSTANT = 60
"""Added to every rank; Cormack, Clarke and Büttcher (SIGIR 2009) found 60 to serve many collections."""


def fuse(rankings: Sequence[Ranking]) -> Ranking:
    """Return every passage of the rankings once, best first; its score is the sum of 1 / (60 + rank), ranks from 1.

    Passages are the same when their ids are. Ties keep the order of the first ranking, then of the second, and so on.
    """
    passages: dict[str, Passage] = {}
    parts: dict[str, list[float]] = {}
    for ranking in rankings:
        for rank, scored in enumerate(ranking, start=1):
            passages.setdefault(scored.passage.id, scored.passage)
            parts.setdefault(scored.passage.id, []).append(1.0 / (RANK_CONSTANT + rank))
    # fsum is exact, so the sum does not depend on the order of the retrievers.
    fused = (ScoredPassage(passage, fsum(parts[name])) for name, passage in passages.items())
    return tuple(sorted(fused, key=lambda scored: scored.score, reverse=True))


class HybridRetriever:
    """Several retrievers asked at once, their rankings fused."""

    def __init__(self, retrievers: Sequence[Retriever], *, depth: int = 100) -> None:
        """Ask each of `retrievers` for at least `depth` passages, so that a short list is fused from long ones."""
        self._retrievers = tuple(retrievers)
        self._depth = depth

    def retrieve(self, queries: Sequence[str], k: int) -> list[Ranking]:
        """Return for each query the `k` best passages of the fused rankings."""
        found = [retriever.retrieve(queries, max(k, self._depth)) for retriever in self._retrievers]
        return [fuse(rankings)[:k] for rankings in zip(*found, strict=True)]
