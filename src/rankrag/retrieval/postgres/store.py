"""The index in a PostgreSQL database: any number of writers and readers, on any number of machines.

Every change is one transaction. Writers of different documents never wait for each other but for the moment of the
commit, which raises the index's version; of two writers of one document the second waits and its passages stand.
Vectors are named by a digest of their text, as in the embedded index: one can be missing, but never stale.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rankrag.data.progress import Progress, quiet
from rankrag.documents.parts import IndexedSource, SourcePassages
from rankrag.errors import IndexStoreError
from rankrag.retrieval import Retriever
from rankrag.retrieval.dense import vector_key
from rankrag.retrieval.encoder import Encoder, PassageEncoder, document_text
from rankrag.retrieval.fusion import HybridRetriever
from rankrag.retrieval.postgres import schema
from rankrag.retrieval.postgres.address import parse_database
from rankrag.retrieval.postgres.connections import Connections
from rankrag.retrieval.postgres.retrievers import (
    COLUMNS,
    database_bm25,
    database_vectors,
    passages_from,
)
from rankrag.retrieval.postgres.writing import add_vectors, delete_empty, delete_passages, put_documents, touch
from rankrag.retrieval.rows import no_vector_yet, not_indexed, notes_from_json, other_encoder
from rankrag.types import Passage

EXACT_UP_TO = 100_000
"""Vectors that are compared one by one; above it, `refresh` builds an approximate index.

At 90,000 the index takes as long as comparing all if it is to find 98 % of the hundred nearest (docs/postgresql.md)."""


class PostgresStore:
    """An index in a database. Its rights decide what a role can do: a reader needs SELECT on the tables only."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._database = connections.database

    @classmethod
    def open(cls, address: str, *, lock_timeout: float = 30.0) -> PostgresStore:
        """Return the index at an address; a writer waits `lock_timeout` seconds for another one of its documents."""
        store = cls(Connections(parse_database(address), lock_timeout))
        with store._connections.reading() as connection:
            schema.check_format(connection, store._database)
        return store

    @classmethod
    def create_or_open(cls, address: str, *, lock_timeout: float = 30.0) -> PostgresStore:
        """Return the index at an address, a new one if there is none; an older one is brought up to date."""
        store = cls(Connections(parse_database(address), lock_timeout))
        with store._connections.writing() as connection:
            connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"rankrag {store._database.schema}"])
            schema.migrate(connection, store._database)
            schema.make_vectors(connection, store._database)
        return store

    def __len__(self) -> int:
        """Return the number of passages."""
        return int(self._value("SELECT passages FROM state"))

    def version(self) -> int:
        """Return a number that every commit raises, by whichever process."""
        return int(self._value("SELECT version FROM state"))

    def sources(self) -> list[IndexedSource]:
        """Return the indexed documents, by path."""
        with self._connections.reading() as connection:
            known = "NULL" if schema.why_no_vectors(connection, self._database) else _HAS_VECTOR
            rows = connection.execute(_SOURCES.format(known=known)).fetchall()
        return [
            IndexedSource(path, sha256, passages, embedded, notes_from_json(notes) if notes else ())
            for path, sha256, passages, embedded, notes in rows
        ]

    def put(self, batch: Sequence[SourcePassages]) -> None:
        """Replace all passages of these documents by the ones given, in one transaction; a new document is added."""
        put_documents(self._connections, batch)

    def remove(self, *names: str) -> int:
        """Remove what is indexed by any of these names, documents or folders of them, in one transaction.

        Return the number of passages removed; `IndexStoreError` where there were none.
        """
        folders = [name.rstrip("/") + "/" for name in names]
        with self._connections.writing() as connection:
            numbers = connection.execute(_NAMED, [list(names), folders]).fetchall()
            removed, terms = delete_passages(connection, [number for (number,) in numbers])
            delete_empty(connection, numbers)
            if removed:
                touch(connection, passages=-removed, terms=-terms)
        if not removed:
            raise not_indexed(self._database, names[0], self.sources())
        return removed

    def discard_empty(self) -> None:
        """Take the index out of the database where it holds no passage; its schema stays."""
        with self._connections.writing() as connection:
            if connection.execute("SELECT passages FROM state FOR UPDATE").fetchone() == (0,):
                connection.execute("DROP TABLE IF EXISTS vectors, postings, passages, documents, state")
                connection.execute("DROP SEQUENCE passage_numbers")

    def get(self, ids: Iterable[str]) -> dict[str, Passage]:
        """Return the passages with these ids; an unknown id is left out."""
        query = f"SELECT {COLUMNS} FROM passages WHERE id = ANY(%s) ORDER BY number"
        with self._connections.reading() as connection:
            found = passages_from(connection.execute(query, [list(ids)]))
        return {passage.id: passage for passage in found}

    def passages(self, source: str | None = None) -> list[Passage]:
        """Return all passages, or a document's, by path, each document from its start to its end."""
        columns = ", ".join(f"passages.{name}" for name in COLUMNS.split(", "))
        query = f"""
            SELECT {columns} FROM passages JOIN documents ON documents.number = document
            WHERE %(source)s::text IS NULL OR documents.path = %(source)s
            ORDER BY documents.path, page, start, passages.id
        """
        with self._connections.reading() as connection:
            return passages_from(connection.execute(query, {"source": source}))

    def refresh(self) -> None:
        """Drop vectors that no passage uses, and index the others when they are many; postings need nothing."""
        if self.why_no_vectors():
            return
        with self._connections.writing() as connection:
            connection.execute(f"DELETE FROM vectors WHERE NOT {_IS_USED}")
        self._index_vectors()

    def _index_vectors(self) -> None:
        """Build the approximate index if it is due and this role owns the table, as only its owner can."""
        with self._connections.writing() as connection:
            owned, indexed, many, dimensions = connection.execute(_DUE, [EXACT_UP_TO]).fetchone() or (False, True, 0, 0)
            if owned:
                connection.execute("ANALYZE documents, passages, postings, vectors")
            if owned and not indexed and many > EXACT_UP_TO:
                connection.execute("SELECT set_config('maintenance_work_mem', '512MB', true)")
                kind = f"vector::halfvec({dimensions})) halfvec_ip_ops"
                connection.execute(f"CREATE INDEX vectors_near ON vectors USING hnsw (({kind})")

    def why_no_vectors(self) -> str:
        """Return why the index can hold no vectors, in one line that says what to do; empty if it can."""
        with self._connections.reading() as connection:
            return schema.why_no_vectors(connection, self._database)

    def encoder_name(self) -> str | None:
        """Return the name of the encoder that made the vectors, `None` before the first."""
        name: str | None = self._value("SELECT encoder FROM state")
        return name

    def missing_vectors(self) -> int:
        """Return the number of passages that have no vector yet, which `dense` cannot find."""
        if self.why_no_vectors():
            return len(self)
        return int(self._value(f"SELECT count(*) FROM passages WHERE NOT {_HAS_VECTOR}"))

    def fill_vectors(self, encoder: PassageEncoder, progress: Progress = quiet, *, batch: int = 256) -> int:
        """Encode the texts that have no vector yet; return their number.

        Each `batch` is committed when it is done and then reported, so a killed run goes on where it stopped. Two
        processes that fill one index at once may encode the same text; one vector is kept.
        """
        if reason := self.why_no_vectors():
            raise IndexStoreError(reason)
        with self._connections.writing() as connection:
            query = "UPDATE state SET encoder = %s, similarity = %s, version = version + 1 WHERE encoder IS NULL"
            connection.execute(query, [encoder.name, encoder.similarity])
        self._check_encoder(encoder)
        query = f"SELECT min(id) FROM passages WHERE NOT {_HAS_VECTOR} GROUP BY key ORDER BY min(number)"
        with self._connections.reading() as connection:
            todo = [name for (name,) in connection.execute(query).fetchall()]
        for start in range(0, len(todo), batch):
            passages = list(self.get(todo[start : start + batch]).values())
            self._add_vectors(passages, encoder.encode_passages(passages))
            progress("encoding passages", min(start + batch, len(todo)), len(todo))
        return len(todo)

    def _add_vectors(self, passages: Sequence[Passage], vectors: npt.NDArray[np.float32]) -> None:
        keys = [vector_key(document_text(passage)) for passage in passages]
        with self._connections.writing() as connection:
            add_vectors(connection, keys, vectors)
            touch(connection)

    def _check_encoder(self, encoder: PassageEncoder) -> None:
        made_by = self.encoder_name()
        if made_by is not None and made_by != encoder.name:
            raise other_encoder(self._database, made_by, encoder.name)

    def vectors_of(self, encoder: Encoder, passages: Sequence[Passage]) -> dict[str, npt.NDArray[np.float32]]:
        """Return the vectors that this encoder made of the passages' texts, by text; those that are missing are not."""
        texts = {vector_key(text): text for text in map(document_text, passages)}
        with self._connections.reading() as connection:
            made_by = connection.execute("SELECT encoder FROM state").fetchone()
            if made_by != (encoder.name,) or schema.why_no_vectors(connection, self._database):
                return {}
            query = "SELECT key, vector::text FROM vectors WHERE key = ANY(%s)"
            rows = connection.execute(query, [list(texts)]).fetchall()
        return {texts[key]: np.array(json.loads(vector), np.float32) for key, vector in rows}

    def lexical(self) -> Retriever:
        """Return BM25 over the passages."""
        return database_bm25(self._connections)

    def dense(self, encoder: Encoder) -> Retriever:
        """Return nearest-vector search over the passages that have a vector; its scores are inner products."""
        if reason := self.why_no_vectors():
            raise IndexStoreError(reason)
        self._check_encoder(encoder)
        if self.encoder_name() is None and len(self):
            raise no_vector_yet(self._database)
        return database_vectors(self._connections, encoder)

    def hybrid(self, encoder: Encoder) -> Retriever:
        """Return BM25 and dense retrieval, fused by their scores."""
        return HybridRetriever([self.lexical(), self.dense(encoder)])

    def _value(self, query: str) -> Any:
        with self._connections.reading() as connection:
            row = connection.execute(query).fetchone()
        return row[0] if row else None


_HAS_VECTOR = "EXISTS (SELECT 1 FROM vectors WHERE vectors.key = passages.key)"
_IS_USED = "EXISTS (SELECT 1 FROM passages WHERE passages.key = vectors.key)"
_SOURCES = """
    SELECT documents.path, sha256, count(*), count(*) FILTER (WHERE {known}), notes
    FROM documents JOIN passages ON document = documents.number GROUP BY documents.number ORDER BY documents.path
"""
_NAMED = """
    SELECT number FROM documents WHERE path = ANY(%s)
    OR EXISTS (SELECT 1 FROM unnest(%s::text[]) AS folder WHERE starts_with(path, folder)) ORDER BY number FOR UPDATE
"""
_DUE = """
    SELECT pg_get_userbyid(relowner) = current_user,
        EXISTS (SELECT 1 FROM pg_index WHERE indrelid = pg_class.oid AND NOT indisprimary),
        (SELECT count(*) FROM (SELECT 1 FROM vectors LIMIT %s + 1) AS counted),
        (SELECT vector_dims(vector) FROM vectors LIMIT 1)
    FROM pg_class WHERE oid = 'vectors'::regclass
"""
