"""DSPy: a retrieval model, `dspy.configure(rm=RankragRM(…))` (extra `dspy`)."""

from __future__ import annotations

from dspy.dsp.utils import dotdict

from rankrag.integrations.reranker import Searcher


class RankragRM:
    """Passages of an index, or of a server's collection, as objects with `long_text`, `score` and `place`."""

    def __init__(self, searcher: Searcher, k: int = 5) -> None:
        self._searcher, self._k = searcher, k

    def __call__(self, query: str, k: int | None = None) -> list[dotdict]:
        """Return at most `k` passages, most relevant first."""
        found = self._searcher.search(query, self._k if k is None else k)
        return [dotdict(long_text=p.text, score=p.score, place=p.place, pid=p.id) for p in found]
