"""Tables of LanceDB in the folder of an index: how they are made, and the table of vectors.

Each vector has the key of the text it was made from (`dense.vector_key`). So the table can lack a vector but never hold
a stale one, and a passage that survives an update of its document is not encoded again.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path

import lancedb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from lancedb.index import IvfSq
from lancedb.table import Table

from rankrag.errors import IndexStoreError
from rankrag.retrieval.dense import vector_key
from rankrag.retrieval.encoder import PassageEncoder, Vectors, document_text
from rankrag.retrieval.rows import other_encoder
from rankrag.retrieval.snapshot import scan
from rankrag.types import Passage

_ENCODER, _SIMILARITY = b"rankrag.encoder", b"rankrag.similarity"


class VectorTable:
    """The vectors of an index, all made by one encoder; callers explain what LanceDB raises (`snapshot.explained`)."""

    name = "vectors"

    def __init__(self, path: Path, db: lancedb.DBConnection) -> None:
        self._path, self._db = path, db

    def open(self, encoder: PassageEncoder | None = None) -> Table | None:
        """Return the table, `None` before the first vector; `encoder` must be the one that made them."""
        if never_written(self._path, self.name):
            return None
        table = self._db.open_table(self.name)
        made_by = self._made_by(table)
        if encoder is not None and encoder.name != made_by:
            raise other_encoder(self._path, made_by, encoder.name)
        return table

    def encoder_name(self) -> str | None:
        """Return the name of the encoder that made the vectors, `None` before the first."""
        table = self.open()
        return None if table is None else self._made_by(table)

    def keys(self, encoder: PassageEncoder | None = None) -> pa.ChunkedArray:
        """Return the keys of all vectors; `encoder` as in `open`."""
        table = self.open(encoder)
        return pa.chunked_array([], pa.string()) if table is None else scan(table, ["key"])["key"]

    def add(self, encoder: PassageEncoder, passages: Sequence[Passage], vectors: Vectors) -> None:
        """Add the vectors that `encoder` made of these passages, `[passages, dim]`, in one commit."""
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), pa.float32()), vectors.shape[1])
        rows = pa.table({"key": [vector_key(document_text(p)) for p in passages], "vector": column})
        if never_written(self._path, self.name):
            made_by = {_ENCODER: encoder.name, _SIMILARITY: encoder.similarity}
            create_table(self._path, self._db, self.name, rows.schema.with_metadata(made_by))
        self._db.open_table(self.name).add(rows)

    def add_new(self, encoder: PassageEncoder, passages: Sequence[Passage], vectors: Vectors) -> None:
        """Add the vectors of those passages whose text has none, as `add` does."""
        known = set(self.keys(encoder).to_pylist())
        rows = [row for row, passage in enumerate(passages) if vector_key(document_text(passage)) not in known]
        if rows:
            self.add(encoder, [passages[row] for row in rows], vectors[rows])

    def of(
        self, encoder: PassageEncoder, passages: Sequence[Passage], at_most: int
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Return the vectors that this encoder made of the passages' texts, by text; none of more than `at_most`."""
        texts = {vector_key(text): text for text in map(document_text, passages)}
        table = self.open()
        if table is None or not texts or self._made_by(table) != encoder.name or table.count_rows() > at_most:
            return {}
        rows = table.search().where(f"key IN ({sql_texts(texts)})").select(["key", "vector"]).to_arrow()
        matrix = rows["vector"].combine_chunks().flatten().to_numpy().reshape(len(rows), -1) if len(rows) else []
        return {texts[key]: vector for key, vector in zip(rows["key"].to_pylist(), matrix, strict=True)}

    def refresh(self, used: pa.ChunkedArray, *, exact_up_to: int, keep: timedelta) -> None:
        """Drop vectors whose keys are not `used`; above `exact_up_to` vectors, index them for approximate search."""
        table = self.open()
        if table is None:
            return
        keys = scan(table, ["key"])["key"]
        unused = keys.filter(pc.invert(pc.is_in(keys, value_set=used))).to_pylist()
        for start in range(0, len(unused), 1000):
            table.delete(f"key IN ({sql_texts(unused[start : start + 1000])})")
        if table.count_rows() > exact_up_to and not list(table.list_indices()):
            similarity = (table.schema.metadata or {}).get(_SIMILARITY, b"cosine").decode()
            table.create_index("vector", config=IvfSq(distance_type=similarity))
        table.optimize(cleanup_older_than=keep)

    def _made_by(self, table: Table) -> str:
        name: bytes | None = (table.schema.metadata or {}).get(_ENCODER)
        if name is None:
            raise IndexStoreError(f"{self._path}: the vectors are damaged; build the index anew in an empty folder")
        return name.decode()


def create_table(path: Path, db: lancedb.DBConnection, name: str, schema: pa.Schema) -> None:
    """Make an empty table."""
    shutil.rmtree(path / f"{name}.lance", ignore_errors=True)  # what an interrupted creation left
    db.create_table(name, schema=schema)


def never_written(path: Path, name: str) -> bool:
    """Tell whether a table was never made, or its making was interrupted before the first commit."""
    table = path / f"{name}.lance"
    return not any(table.glob("_versions/*.manifest")) and not any(table.glob("data/*"))


def sql_texts(texts: Iterable[str]) -> str:
    """Return texts as a list of SQL's string literals."""
    return ", ".join("'" + text.replace("'", "''") + "'" for text in texts)
