"""LangChain: a retriever, a document compressor and a cross-encoder (extra `langchain`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import CallbackManagerForRetrieverRun, Callbacks
from langchain_core.cross_encoders import BaseCrossEncoder
from langchain_core.documents import BaseDocumentCompressor, Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict, PrivateAttr

from rankrag.integrations.reranker import Reranker, Searcher


class RankragRetriever(BaseRetriever):
    """Passages of an index, or of a server's collection, most relevant first.

    `k` is how many; `index` a folder or the address of a `rankrag serve`. P(True) is `metadata["relevance_score"]`.
    """

    index: str
    collection: str = ""
    api_key: str | None = None
    k: int = 5
    _searcher: Searcher = PrivateAttr()

    def model_post_init(self, context: Any, /) -> None:
        """Open the index."""
        super().model_post_init(context)
        self._searcher = Searcher(self.index, collection=self.collection, api_key=self.api_key)

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        found = self._searcher.search(query, self.k if k is None else k)
        return [
            Document(
                id=passage.id,
                page_content=passage.text,
                metadata={"title": passage.title, "source": passage.place, "relevance_score": passage.score},
            )
            for passage in found
        ]


class RankragCompressor(BaseDocumentCompressor):
    """Keeps the `top_n` documents that are most relevant to the query."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    reranker: Reranker
    top_n: int = 3

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks = None
    ) -> Sequence[Document]:
        """Return the best documents, each with its P(True) as `relevance_score`."""
        ranked = self.reranker.rank(query, [d.page_content for d in documents], top_k=self.top_n)
        return [
            documents[one.index].model_copy(
                update={"metadata": {**documents[one.index].metadata, "relevance_score": one.score}}
            )
            for one in ranked
        ]


class RankragCrossEncoder(BaseCrossEncoder):
    """P(True) of pairs, for LangChain's own reranker."""

    def __init__(self, reranker: Reranker) -> None:
        self._reranker = reranker

    def score(self, text_pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Return the probability that each pair's document is relevant to its query."""
        return self._reranker.score(text_pairs)
