"""How passages stand in a table of the index, and how one state of that table is read and searched."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lancedb.index import FTS
from lancedb.table import Table

from rankrag.documents.document import Note
from rankrag.documents.parts import SourcePassages
from rankrag.errors import IndexStoreError
from rankrag.retrieval import Retriever
from rankrag.retrieval.dense import ApproximateSearch, exact_search
from rankrag.retrieval.encoder import Encoder, Vectors
from rankrag.retrieval.lexical import Hit, bm25_search
from rankrag.retrieval.rows import PASSAGE_COLUMNS, best_first, notes_from_json, notes_to_json, passage_of, row_of
from rankrag.types import Passage, Ranking, ScoredPassage

FORMAT, FORMAT_WITHOUT_FIELDS = "3", "2"
"""Format 2 had BM25 terms of title and text alone; format 1 had other terms and no notes."""
SCHEMA = pa.schema(
    [
        *(pa.field(name, pa.string(), nullable=False) for name in ("id", "text", "title", "terms", "key")),
        *(pa.field(name, pa.string(), nullable=False) for name in ("source", "sha256")),
        *(pa.field(name, pa.string()) for name in ("path", "heading", "notes")),
        *(pa.field(name, pa.int64()) for name in ("page", "start", "end")),
    ],
    metadata={"rankrag.format": FORMAT},
)
"""`source` is the document that was indexed; `path` to `end` are the passage's own `Source`, null where it has none.

`notes`, in JSON, stands at a document's first passage: what could not be read, or was guessed.
"""

TERMS_AS_THEY_ARE = FTS(
    base_tokenizer="whitespace",
    max_token_length=None,
    lower_case=False,
    stem=False,
    remove_stop_words=False,
    ascii_folding=False,
)
"""The index splits `terms` at spaces and changes nothing: the terms are `fields.passage_terms`."""


def rows_of(batch: Sequence[SourcePassages]) -> pa.Table:
    """Return the passages of the documents as rows of the index, in order."""
    rows = [
        row_of(document, passage)
        | {"source": document.path, "sha256": document.sha256}
        | {"notes": None if place else notes_to_json(document.notes)}
        for document in batch
        for place, passage in enumerate(document.passages)
    ]
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def notes_of(table: Table) -> dict[str, tuple[Note, ...]]:
    """Return what was said about the documents when they were read, by path."""
    rows = table.search().where("notes IS NOT NULL").select(["source", "notes"]).to_arrow().to_pylist()
    return {row["source"]: notes_from_json(row["notes"]) for row in rows}


def scan(table: Table, columns: Sequence[str]) -> pa.Table:
    """Return these columns of all rows, in the order of the table, with each row's number as `_rowid`."""
    return table.search().select(list(columns)).with_row_id(True).to_arrow()


def rows_without(table: Table, known: pa.ChunkedArray) -> list[int]:
    """Return the rows of passages whose vector's key is not `known`, one row for each key."""
    rows = scan(table, ["key"])
    rows = rows.filter(pc.invert(pc.is_in(rows["key"], value_set=known)))
    return list(dict(zip(rows["key"].to_pylist(), rows["_rowid"].to_pylist(), strict=True)).values())


def passages_at(table: Table, rows: Sequence[int]) -> dict[int, Passage]:
    """Return the passages that stand in these rows, by row."""
    if not rows:
        return {}
    found = table.take_row_ids(list(rows)).select(list(PASSAGE_COLUMNS)).with_row_id().to_arrow()
    return {row["_rowid"]: passage_of(row) for row in found.to_pylist()}


_PANICS = {"RustPanic", "PanicException"}
"""What its Rust raises for bytes that it did not expect; the second, which cannot be imported, is no `Exception`."""


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what LanceDB raises about its files into one error that says what to do."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, RuntimeError | ValueError | OSError) and type(error).__name__ not in _PANICS:
            raise
        reason = " ".join(str(error).split())[:200]
        raise IndexStoreError(
            f"{path}: the index cannot be read or written ({reason}); if the disk is neither full nor read-only, the "
            "index is damaged or was changed by another program: try again, else build it anew in an empty folder"
        ) from error


@dataclass(frozen=True, slots=True)
class _SnapshotRetriever:
    """A `Retriever` over one state of the index: `search` gives rows and scores, `table` has the passages.

    `search` may give rows beyond `k` that share the last place, in any order.
    """

    path: Path
    table: Table
    search: Callable[[Sequence[str], int], list[list[Hit]]]

    def retrieve(self, queries: Sequence[str], k: int) -> list[Ranking]:
        """Return for each query at most `k` passages, best first; ties keep the order of the passages' ids."""
        asked = [query for query in queries if query.strip()]
        found = iter(self.search(asked, k) if asked and k > 0 else [[]] * len(asked))
        hits = [next(found) if query.strip() else [] for query in queries]
        with explained(self.path):
            passages = passages_at(self.table, sorted({row for ranking in hits for row, _ in ranking}))
        rankings = ([ScoredPassage(passages[row], score) for row, score in ranking] for ranking in hits)
        return [tuple(sorted(ranking, key=best_first)[:k]) for ranking in rankings]


def lexical_retriever(path: Path, table: Table) -> Retriever:
    """Return BM25 over the passages of `table`, which stays at one version."""

    def search(queries: Sequence[str], k: int) -> list[list[Hit]]:
        with explained(path):
            return bm25_search(table, queries, k)

    return _SnapshotRetriever(path, table, search)


def dense_retriever(path: Path, table: Table, vectors: Table | None, encoder: Encoder, exact_up_to: int) -> Retriever:
    """Return nearest-vector search over the passages of `table` whose vectors stand in `vectors`."""
    live = scan(table, ["id", "key"]).sort_by("id")
    nearest: Callable[[Vectors, int], list[list[Hit]]]
    if vectors is None:
        live, nearest = live.slice(0, 0), partial(exact_search, np.empty((0, 1), np.float32), np.empty(0, np.int64))
    elif vectors.count_rows() > exact_up_to:
        live = live.filter(pc.is_in(live["key"], value_set=scan(vectors, ["key"])["key"]))
        nearest = ApproximateSearch(vectors, encoder.similarity, live["key"], live["_rowid"].to_numpy())
    else:
        stored = vectors.search().select(["key", "vector"]).to_arrow()
        live = live.filter(pc.is_in(live["key"], value_set=stored["key"]))
        matrix = stored["vector"].combine_chunks().flatten().to_numpy().reshape(len(stored), -1)
        places = pc.index_in(live["key"], value_set=stored["key"]).to_numpy()
        nearest = partial(exact_search, matrix[places], live["_rowid"].to_numpy())

    def search(queries: Sequence[str], k: int) -> list[list[Hit]]:
        asked = encoder.encode_queries(queries)
        with explained(path):
            return nearest(asked, k)

    return _SnapshotRetriever(path, table, search)
