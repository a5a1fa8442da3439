"""Retrievers over an index in a database; each call sees one state of it, the newest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rankrag.retrieval.encoder import Encoder
from rankrag.retrieval.lexical import Hit
from rankrag.retrieval.postgres.connections import Connections
from rankrag.retrieval.postgres.postings import search_terms
from rankrag.retrieval.rows import PASSAGE_COLUMNS, best_first, passage_of
from rankrag.types import Passage, Ranking, ScoredPassage

if TYPE_CHECKING:
    from psycopg import Connection

EF_SEARCH = 1000
"""Vectors that a search in the index keeps in view: pgvector's maximum, since with 400 it misses 1 in 20."""

_NUL, _ESCAPE = "\0", "\ue000"  # PostgreSQL's text holds no NUL, which broken files do
COLUMNS = ", ".join(f'"{name}"' for name in PASSAGE_COLUMNS)


def storable(text: str) -> str:
    """Return text as the database can hold it: without NUL."""
    if _NUL not in text and _ESCAPE not in text:
        return text
    return text.replace(_ESCAPE, f"{_ESCAPE}1").replace(_NUL, f"{_ESCAPE}0")


def _restored(text: str) -> str:
    return text.replace(f"{_ESCAPE}0", _NUL).replace(f"{_ESCAPE}1", _ESCAPE) if _ESCAPE in text else text


def passages_from(rows: Iterable[Sequence[str | int | None]]) -> list[Passage]:
    """Return the passages in rows of `COLUMNS`."""
    texts = ((_restored(value) if isinstance(value, str) else value for value in row) for row in rows)
    return [passage_of(dict(zip(PASSAGE_COLUMNS, row, strict=True))) for row in texts]


def vector_text(vector: npt.NDArray[np.float32]) -> str:
    """Return a vector as pgvector reads it."""
    return f"[{','.join(map(str, vector.tolist()))}]"


@dataclass(frozen=True, slots=True)
class _DatabaseRetriever:
    """A `Retriever`: `search` finds passages for what `prepare` makes of queries, by number, at least the best `k`."""

    connections: Connections
    search: Callable[[Connection, Sequence[str], int], list[list[Hit]]]
    prepare: Callable[[Sequence[str]], Sequence[str]]

    def retrieve(self, queries: Sequence[str], k: int) -> list[Ranking]:
        """Return for each query at most `k` passages, best first; ties keep the order of the passages' ids."""
        asked = [query for query in queries if query.strip()]
        if not asked or k <= 0:
            return [()] * len(queries)
        prepared = self.prepare(asked)  # before a transaction begins: it may take long
        with self.connections.reading() as connection:
            found = iter(self.search(connection, prepared, k))
            hits = [next(found) if query.strip() else [] for query in queries]
            passages = _passages_at(connection, {number for ranking in hits for number, _ in ranking})
        found_passages = ([ScoredPassage(passages[number], score) for number, score in ranking] for ranking in hits)
        return [tuple(sorted(own, key=best_first)[:k]) for own in found_passages]


def _passages_at(connection: Connection, numbers: set[int]) -> dict[int, Passage]:
    query = f"SELECT {COLUMNS} FROM passages WHERE number = ANY(%s) ORDER BY number"
    found = passages_from(connection.execute(query, [sorted(numbers)]))
    return dict(zip(sorted(numbers), found, strict=True))


def database_bm25(connections: Connections) -> _DatabaseRetriever:
    """Return BM25 over the passages."""

    def search(connection: Connection, queries: Sequence[str], k: int) -> list[list[Hit]]:
        return [search_terms(connection, query, k) for query in queries]

    return _DatabaseRetriever(connections, search, lambda queries: queries)


def database_vectors(connections: Connections, encoder: Encoder) -> _DatabaseRetriever:
    """Return nearest-vector search over the passages that have a vector; scores are inner products.

    Vectors are compared one by one until `PostgresStore.refresh` has built an index of them.
    """

    def prepare(queries: Sequence[str]) -> list[str]:
        return [vector_text(vector) for vector in encoder.encode_queries(queries)]

    def search(connection: Connection, queries: Sequence[str], k: int) -> list[list[Hit]]:
        settings = "set_config('hnsw.iterative_scan', 'strict_order', true), set_config('hnsw.ef_search', %s, true)"
        connection.execute(f"SELECT {settings}", [str(EF_SEARCH)])
        return [_nearest(connection, query, k) for query in queries]

    return _DatabaseRetriever(connections, search, prepare)


def _nearest(connection: Connection, query: str, k: int) -> list[Hit]:
    """Return at least the `k` nearest passages; a vector may belong to several, or to none any more."""
    kind = f"halfvec({query.count(',') + 1})"
    near = f"SELECT key, vector::{kind} <#> %s::{kind} AS distance FROM vectors ORDER BY distance LIMIT %s"
    limit = k
    while True:
        joined = f"SELECT number, -distance FROM ({near}) AS near LEFT JOIN passages USING (key)"
        rows = connection.execute(joined, [query, limit]).fetchall()
        found = [(number, score) for number, score in rows if number is not None]
        if len(found) >= k or len(rows) < limit:
            return found
        limit *= 2
