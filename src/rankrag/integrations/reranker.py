"""Ranking and searching as other libraries expect it: one line, in this process or through a server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rankrag.errors import ConfigError
from rankrag.models.address import is_address
from rankrag.types import Passage, Question

if TYPE_CHECKING:
    from pathlib import Path

    from rankrag.config.answering import AskConfig
    from rankrag.models import LanguageModel
    from rankrag.models.remote import Remote
    from rankrag.pipeline import RankRAG

TIMEOUT = 600.0
"""Seconds that a server may take; ranking a long list on a CPU takes minutes."""

RETRIES = 2
"""Further tries where a server is not reached or is busy."""


@dataclass(frozen=True, slots=True)
class RankedDocument:
    """A document in its new place: its index in the list that was given, P(True), and its text."""

    index: int
    score: float
    text: str


@dataclass(frozen=True, slots=True)
class FoundPassage:
    """A passage that a search found: its id, P(True), its text and title, and where it stands."""

    id: str
    score: float
    text: str
    title: str = ""
    place: str = ""


class Reranker:
    """Orders documents by the probability that each is relevant to a query.

    Args:
        model: rankrag-mini, a model directory, a hub id, or the address of a `rankrag serve`: `http://HOST:PORT`.
        api_key: the server's key, if it has one.
    """

    def __init__(self, model: str | LanguageModel = "rankrag-mini", *, api_key: str | None = None) -> None:
        self._server = _server(model, api_key) if isinstance(model, str) and is_address(model) else None
        self._model: LanguageModel | None = None
        if self._server is None:
            if isinstance(model, str):
                from rankrag.opening import open_model

                model = open_model(model, state_cache="memory")
            self._model = model

    def rank(self, query: str, documents: Sequence[str], *, top_k: int | None = None) -> list[RankedDocument]:
        """Return the documents, most relevant first, ties in the given order; the first `top_k` if that is given."""
        if not query.strip():
            raise ConfigError("the query is empty; give a text")
        scores = self._scores(query, documents) if documents else []
        order = sorted(range(len(documents)), key=lambda i: (-scores[i], i))
        return [RankedDocument(i, scores[i], documents[i]) for i in order[: len(order) if top_k is None else top_k]]

    def score(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        """Return P(True) of each pair of a query and a document, in their order."""
        queries = dict.fromkeys(query for query, _ in pairs)
        found: dict[tuple[str, str], float] = {}
        for query in queries:
            documents = list(dict.fromkeys(document for asked, document in pairs if asked == query))
            found |= zip([(query, d) for d in documents], self._scores(query, documents), strict=True)
        return [found[pair] for pair in pairs]

    def _scores(self, query: str, documents: Sequence[str]) -> list[float]:
        if self._server:
            body = {"query": query, "documents": list(documents)}
            results = self._server.ask("/v1/rerank", body)["results"]
            return [r["relevance_score"] for r in sorted(results, key=lambda r: r["index"])]
        from rankrag.rerank import judge

        assert self._model is not None
        question = Question("", query)
        pairs = [(question, Passage(str(place), text)) for place, text in enumerate(documents)]
        return [judgement.probability for judgement in judge(self._model, pairs)]


class Searcher:
    """Finds passages of an index, reranked by the model.

    Args:
        index: folder of an index, or the address of a `rankrag serve`.
        config: how to search, where the index is a folder; the server has its own.
        collection: the server's collection; by default its first.
        api_key: the server's key, if it has one.
    """

    def __init__(
        self,
        index: str | Path,
        config: AskConfig | None = None,
        *,
        collection: str = "",
        api_key: str | None = None,
    ) -> None:
        self._collection = collection
        self._server = _server(str(index), api_key) if is_address(str(index)) else None
        self._pipeline: RankRAG | None = None
        if self._server is None:
            from rankrag.config.answering import AskConfig
            from rankrag.opening import load

            # a list is wanted whole, where an answer takes its first few passages
            config = config or AskConfig()
            if "settled_from" not in config.model_fields_set:
                config = config.model_copy(update={"settled_from": None})
            self._pipeline = load(index, config)

    def search(self, query: str, k: int = 5) -> list[FoundPassage]:
        """Return at most `k` passages, most relevant first."""
        if self._server:
            body = {"query": query, "k": k, "collection": self._collection}
            return [FoundPassage(**row) for row in self._server.ask("/v1/search", body)["results"]]
        assert self._pipeline is not None
        question = Question("", query)
        decision = self._pipeline.rerank(question, self._pipeline.retrieve(question).ranking)
        return [found_passage(c.passage, decision.relevance.get(c.passage.id, 0.0)) for c in decision.ranking[:k]]


def found_passage(passage: Passage, score: float) -> FoundPassage:
    """Return a passage as a search shows it."""
    place = str(passage.source) if passage.source else ""
    return FoundPassage(passage.id, score, passage.text, passage.title, place)


def _server(url: str, key: str | None) -> Remote:
    """Return a `rankrag serve` at its address, with or without `/v1` at the end."""
    from rankrag.models.remote import Remote

    return Remote(url.rstrip("/").removesuffix("/v1"), timeout=TIMEOUT, retries=RETRIES, key=key)
