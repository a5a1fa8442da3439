"""PyTerrier: a transformer that reranks the rows of a run (extra `pyterrier`)."""

from __future__ import annotations

import pandas as pd
import pyterrier as pt

from rankrag.integrations.reranker import Reranker


class RankragTransformer(pt.Transformer):
    """Gives each row of qid, query, docno and text P(True) as its score, and its rank within the query."""

    def __init__(self, reranker: Reranker) -> None:
        self._reranker = reranker

    def transform(self, inp: pd.DataFrame) -> pd.DataFrame:
        """Return the rows with new scores and ranks; ranks begin at 0, ties keep the given order."""
        pt.validate.result_frame(inp, extra_columns=["query", "text"])
        found = inp.drop(columns=["score", "rank"], errors="ignore").copy()
        found["score"] = self._reranker.score(list(zip(inp["query"], inp["text"], strict=True))) if len(inp) else []
        found["score"] = found["score"].astype(float)
        return pt.model.add_ranks(found)
