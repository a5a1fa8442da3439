"""Haystack 3: a ranker and a retriever, for pipelines that wait and pipelines that do not (extra `haystack`)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict

from rankrag.integrations.reranker import Reranker, Searcher


@component
class RankragRanker:
    """Orders documents by P(True) and keeps the first `top_k`.

    Args:
        model: rankrag-mini, a model directory, a hub id, or the address of a `rankrag serve`.
        top_k: documents that are kept; None keeps all.
    """

    def __init__(self, model: str = "rankrag-mini", top_k: int | None = None) -> None:
        self.model, self.top_k = model, top_k
        self._reranker: Reranker | None = None

    def warm_up(self) -> None:
        """Open the model."""
        self._reranker = self._reranker or Reranker(self.model)

    @component.output_types(documents=list[Document])
    def run(self, query: str, documents: list[Document], top_k: int | None = None) -> dict[str, list[Document]]:
        """Return the documents, most relevant first, with P(True) as their score."""
        self.warm_up()
        assert self._reranker is not None
        kept = self.top_k if top_k is None else top_k
        ranked = self._reranker.rank(query, [d.content or "" for d in documents], top_k=kept)
        return {"documents": [replace(documents[one.index], score=one.score) for one in ranked]}

    @component.output_types(documents=list[Document])
    async def run_async(
        self, query: str, documents: list[Document], top_k: int | None = None
    ) -> dict[str, list[Document]]:
        """Do the same in a thread, so that a pipeline's other parts go on."""
        return await asyncio.to_thread(self.run, query, documents, top_k)

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` makes this ranker of."""
        return default_to_dict(self, model=self.model, top_k=self.top_k)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> RankragRanker:
        """Return the ranker of a stored pipeline."""
        return default_from_dict(cls, data)


@component
class RankragRetriever:
    """Passages of an index, or of a server's collection, most relevant first.

    Args:
        index: folder of an index, or the address of a `rankrag serve`.
        top_k: passages that are returned.
        collection: the server's collection; by default its first.
    """

    def __init__(self, index: str, top_k: int = 5, collection: str = "") -> None:
        self.index, self.top_k, self.collection = index, top_k, collection
        self._searcher: Searcher | None = None

    def warm_up(self) -> None:
        """Open the index."""
        self._searcher = self._searcher or Searcher(self.index, collection=self.collection)

    @component.output_types(documents=list[Document])
    def run(self, query: str, top_k: int | None = None) -> dict[str, list[Document]]:
        """Return passages as documents, with P(True) as their score."""
        self.warm_up()
        assert self._searcher is not None
        found = self._searcher.search(query, self.top_k if top_k is None else top_k)
        return {
            "documents": [
                Document(id=p.id, content=p.text, meta={"title": p.title, "source": p.place}, score=p.score)
                for p in found
            ]
        }

    @component.output_types(documents=list[Document])
    async def run_async(self, query: str, top_k: int | None = None) -> dict[str, list[Document]]:
        """Do the same in a thread, so that a pipeline's other parts go on."""
        return await asyncio.to_thread(self.run, query, top_k)

    def to_dict(self) -> dict[str, Any]:
        """Return what `from_dict` makes this retriever of."""
        return default_to_dict(self, index=self.index, top_k=self.top_k, collection=self.collection)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> RankragRetriever:
        """Return the retriever of a stored pipeline."""
        return default_from_dict(cls, data)
