"""Indexes that an earlier rankrag made: what their readers are told, and how the last format becomes today's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from lancedb.table import Table

from rankrag.errors import IndexStoreError
from rankrag.retrieval.fields import passage_terms
from rankrag.retrieval.rows import PASSAGE_COLUMNS, passage_of
from rankrag.retrieval.snapshot import FORMAT, FORMAT_WITHOUT_FIELDS, SCHEMA

_AT_ONCE = 5_000  # passages


def format_of(table: Table) -> str:
    """Return the format in which a table of passages was made."""
    found: bytes = (table.schema.metadata or {}).get(b"rankrag.format", b"none")
    return found.decode()


def other_format(path: Path, found: str) -> IndexStoreError:
    """Return the error for an index that is not in today's format."""
    if found == FORMAT_WITHOUT_FIELDS:
        return IndexStoreError(
            f"{path}: an earlier rankrag made this index (format {found}, BM25 without fields); run the same "
            "`rankrag index` again, which brings it up to date and keeps its vectors"
        )
    return IndexStoreError(
        f"{path}: the index has format {found}, this rankrag reads format {FORMAT}; "
        "rebuild it: rankrag index DOCUMENTS into a new folder"
    )


def with_fields(table: Table) -> pa.RecordBatchReader:
    """Return the rows of a table in the format without fields, with the terms that its passages have today."""

    def rows() -> Iterator[pa.RecordBatch]:
        for batch in table.search().to_batches(_AT_ONCE):
            found = batch.select(list(PASSAGE_COLUMNS)).to_pylist()
            terms = pa.array([" ".join(passage_terms(passage_of(row))) for row in found], pa.string())
            columns = [terms if name == "terms" else batch[name] for name in SCHEMA.names]
            yield pa.RecordBatch.from_arrays(columns, schema=SCHEMA)

    return pa.RecordBatchReader.from_batches(SCHEMA, rows())
