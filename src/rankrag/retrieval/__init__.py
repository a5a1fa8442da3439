"""First stage: from a query to the passages worth reranking.

Any `Retriever` can be given to `pipeline.RankRAG`. To choose a new one by name, add the name
to `config.answering.RetrieverKind` and open it in `opening.open_retriever`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rankrag.types import Ranking


class Retriever(Protocol):
    """Anything that finds passages for queries."""

    def retrieve(self, queries: Sequence[str], k: int) -> list[Ranking]:
        """Return for each query at most `k` passages, best first; ties keep the order of the index.

        An empty query gives an empty ranking; `k` beyond the size of the index gives all that matched.
        """
        ...
