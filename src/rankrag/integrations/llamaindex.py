"""LlamaIndex: a node postprocessor and a retriever (extra `llamaindex`)."""

from __future__ import annotations

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode

from rankrag.integrations.reranker import Reranker, Searcher


class RankragPostprocessor(BaseNodePostprocessor):
    """Orders nodes by P(True) and keeps the first `top_n`."""

    top_n: int = 3
    _reranker: Reranker = PrivateAttr()

    def __init__(self, reranker: Reranker, *, top_n: int = 3) -> None:
        super().__init__(top_n=top_n)
        self._reranker = reranker

    @classmethod
    def class_name(cls) -> str:
        """Return the name that LlamaIndex stores."""
        return "RankragPostprocessor"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        if query_bundle is None:
            raise ValueError("RankragPostprocessor needs the query: pass query_bundle or query_str")
        texts = [node.node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]
        ranked = self._reranker.rank(query_bundle.query_str, texts, top_k=self.top_n)
        return [NodeWithScore(node=nodes[one.index].node, score=one.score) for one in ranked]


class RankragRetriever(BaseRetriever):
    """Passages of an index, or of a server's collection, most relevant first."""

    def __init__(self, searcher: Searcher, *, top_k: int = 5) -> None:
        self._searcher, self._top_k = searcher, top_k
        super().__init__()

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        found = self._searcher.search(query_bundle.query_str, self._top_k)
        return [
            NodeWithScore(
                node=TextNode(id_=p.id, text=p.text, metadata={"title": p.title, "source": p.place}), score=p.score
            )
            for p in found
        ]
