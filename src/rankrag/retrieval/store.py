"""The index on disk: passages, their terms and their vectors, in an embedded LanceDB store.

Every change to the table of passages is one commit: a process that is killed leaves the old state or the new one.
Vectors stand in a table of their own (`tables`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import lancedb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from filelock import FileLock, Timeout
from lancedb.table import Table

from rankrag.data.progress import Progress, quiet
from rankrag.documents.parts import IndexedSource, SourcePassages
from rankrag.errors import IndexStoreError
from rankrag.retrieval import Retriever
from rankrag.retrieval.encoder import Encoder, PassageEncoder, Vectors
from rankrag.retrieval.fusion import HybridRetriever
from rankrag.retrieval.rows import clash, no_vector_yet, not_indexed, owners_of
from rankrag.retrieval.snapshot import (
    FORMAT,
    FORMAT_WITHOUT_FIELDS,
    SCHEMA,
    TERMS_AS_THEY_ARE,
    dense_retriever,
    explained,
    lexical_retriever,
    notes_of,
    passages_at,
    rows_of,
    rows_without,
    scan,
)
from rankrag.retrieval.tables import VectorTable, create_table, never_written, sql_texts
from rankrag.retrieval.upgrade import format_of, other_format, with_fields
from rankrag.types import Passage

EXACT_UP_TO = 200_000
"""Vectors that are compared one by one; above it, `refresh` builds an approximate index and `dense` uses it."""

_OLD_STATES_KEPT = timedelta(hours=1)
"""How long readers may go on with the state they opened after another process has refreshed the index."""

_PASSAGES = "passages"
_OURS = {f"{_PASSAGES}.lance", ".write.lock"}  # what an interrupted creation leaves


class PassageStore:
    """An index in a folder. Any number of processes may read it; writers take turns."""

    def __init__(self, path: Path, lock_timeout: float) -> None:
        self._path = path
        self._lock_timeout = lock_timeout
        self._db = lancedb.connect(path)
        self._vectors = VectorTable(path, self._db)

    @classmethod
    def open(cls, path: Path | str, *, lock_timeout: float = 10.0) -> PassageStore:
        """Return the index in the folder `path`; a writer waits `lock_timeout` seconds for another one."""
        path = Path(path)
        if not path.is_dir():
            raise IndexStoreError(f"{path}: no index there; make one with: rankrag index DOCUMENTS --out {path}")
        if never_written(path, _PASSAGES):
            raise IndexStoreError(f"{path}: the folder holds no rankrag index; name the folder given to --out")
        store = cls(path, lock_timeout)
        with explained(path):
            found = format_of(store._table(_PASSAGES))
        if found != FORMAT:
            raise other_format(path, found)
        return store

    @classmethod
    def create_or_open(cls, path: Path | str, *, lock_timeout: float = 10.0) -> PassageStore:
        """Return the index in the folder `path`, brought up to date; a new one if the folder is missing or empty."""
        path = Path(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            strangers = sorted(entry.name for entry in path.iterdir() if entry.name not in _OURS)
        except OSError as error:
            raise IndexStoreError(f"{path}: no index can be made there ({error}); choose another folder") from error
        if strangers and never_written(path, _PASSAGES):
            raise IndexStoreError(f"{path}: not an index, it holds {strangers[0]}; choose a new or an empty folder")
        store = cls(path, lock_timeout)
        with store._locked("write"), explained(path):
            if never_written(path, _PASSAGES):
                create_table(path, store._db, _PASSAGES, SCHEMA)
            if format_of(store._table(_PASSAGES)) == FORMAT_WITHOUT_FIELDS:
                store._db.create_table(_PASSAGES, with_fields(store._snapshot(_PASSAGES)), mode="overwrite")
            table = store._table(_PASSAGES)
            if not list(table.list_indices()):  # a new table, or one whose making was interrupted here
                table.create_index("terms", config=TERMS_AS_THEY_ARE)
        return cls.open(path, lock_timeout=lock_timeout)

    def __len__(self) -> int:
        """Return the number of passages."""
        with explained(self._path):
            return int(self._table(_PASSAGES).count_rows())

    def sources(self) -> list[IndexedSource]:
        """Return the indexed documents, by path."""
        with explained(self._path):
            notes = notes_of(self._table(_PASSAGES))
            rows = scan(self._table(_PASSAGES), ["source", "sha256", "key"])
            known = pc.is_in(rows["key"], value_set=self._vectors.keys()).cast(pa.int64())
        counted = rows.select(["source", "sha256"]).append_column("known", known)
        groups = counted.group_by(["source", "sha256"]).aggregate([("known", "count"), ("known", "sum")])
        groups = groups.select(["source", "sha256", "known_count", "known_sum"]).sort_by("source")
        return [
            IndexedSource(source, sha256, passages, embedded, notes.get(source, ()))
            for source, sha256, passages, embedded in (group.values() for group in groups.to_pylist())
        ]

    def put(self, batch: Sequence[SourcePassages]) -> None:
        """Replace all passages of these documents by the ones given, in one commit; a new document is added.

        The passages can be found at once, most quickly after `refresh`.
        """
        owners, rows = owners_of(batch), rows_of(batch)
        paths = sorted({document.path for document in batch})
        with self._locked("write"), explained(self._path):
            table = self._table(_PASSAGES)
            # LanceDB keeps no column unique; to look at all ids is faster than a filter with thousands of them
            stored = scan(table, ["id", "source"])
            ours = pc.is_in(stored["source"], value_set=pa.array(paths, pa.string()))
            others = stored.filter(pc.invert(ours))
            clashes = others.filter(pc.is_in(others["id"], value_set=pa.array(owners, pa.string()))).to_pylist()
            if clashes:
                raise clash(clashes[0]["id"], clashes[0]["source"], owners[clashes[0]["id"]])
            if pc.any(ours).as_py():
                # one commit: passages that stay are updated, new ones added, and those of these documents that are
                # not among the rows any more deleted
                merge = table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
                merge.when_not_matched_by_source_delete(f"source IN ({sql_texts(paths)})").execute(rows)
            elif owners:  # all documents are new; a merge would read the whole table
                table.add(rows)

    def remove(self, *names: str) -> int:
        """Remove what is indexed by any of these names, documents or folders of them, in one commit.

        Return the number of passages removed; `IndexStoreError` where there were none.
        """
        below = [f"starts_with(source, {sql_texts([name.rstrip('/') + '/'])})" for name in names]
        with self._locked("write"), explained(self._path):
            table = self._table(_PASSAGES)
            removed = table.delete(" OR ".join([f"source IN ({sql_texts(names)})", *below])).num_deleted_rows
        if removed:
            return int(removed)
        raise not_indexed(self._path, names[0], self.sources())

    def discard_empty(self) -> None:
        """Take the index off the disk where it holds no passage, and its folder where that holds nothing else."""
        with self._locked("write"):
            if len(self):
                return
            for name in (_PASSAGES, VectorTable.name):
                shutil.rmtree(self._path / f"{name}.lance", ignore_errors=True)
        (self._path / ".write.lock").unlink(missing_ok=True)
        with suppress(OSError):
            self._path.rmdir()

    def get(self, ids: Iterable[str]) -> dict[str, Passage]:
        """Return the passages with these ids; an unknown id is left out."""
        with explained(self._path):
            table = self._table(_PASSAGES)
            stored = scan(table, ["id"])
            wanted = pc.is_in(stored["id"], value_set=pa.array(list(ids), pa.string()))
            found = passages_at(table, stored["_rowid"].filter(wanted).to_pylist())
        return {passage.id: passage for passage in found.values()}

    def version(self) -> tuple[int, int]:
        """Return a mark that changes whenever passages or vectors do, by whichever process."""
        with explained(self._path):
            vectors = self._vectors.open()
            return self._table(_PASSAGES).version, vectors.version if vectors is not None else 0

    def passages(self, source: str | None = None) -> list[Passage]:
        """Return all passages, or a document's, by path, each document from its start to its end."""
        with explained(self._path):
            table = self._snapshot(_PASSAGES)
            order = [(name, "ascending") for name in ("source", "page", "start", "id")]
            found = scan(table, ["source", "page", "start", "id"])
            if source is not None:
                found = found.filter(pc.equal(found["source"], source))
            rows = found.sort_by(order)["_rowid"].to_pylist()
            found = passages_at(table, rows)
        return [found[row] for row in rows]

    def refresh(self, *, keep: timedelta = _OLD_STATES_KEPT) -> None:
        """Bring the indices up to date, merge small files, drop unused vectors and states older than `keep`."""
        with self._locked("write"), explained(self._path):
            passages = self._table(_PASSAGES)
            passages.optimize(cleanup_older_than=keep)
            used = scan(passages, ["key"])["key"]
            self._vectors.refresh(used, exact_up_to=EXACT_UP_TO, keep=keep)

    def why_no_vectors(self) -> str:
        """Return nothing: a folder can always hold vectors."""
        return ""

    def encoder_name(self) -> str | None:
        """Return the name of the encoder that made the vectors, `None` before the first."""
        with explained(self._path):
            return self._vectors.encoder_name()

    def missing_vectors(self) -> int:
        """Return the number of passages that have no vector yet, which `dense` cannot find."""
        with explained(self._path):
            keys = scan(self._table(_PASSAGES), ["key"])["key"]
            return int(keys.length() - (pc.sum(pc.is_in(keys, value_set=self._vectors.keys())).as_py() or 0))

    def fill_vectors(self, encoder: PassageEncoder, progress: Progress = quiet, *, batch: int = 256) -> int:
        """Encode the texts that have no vector yet; return their number.

        Each `batch` is committed when it is done and then reported, so a killed run goes on where it
        stopped. Passages that are put meanwhile need another call.
        """
        # others that fill wait for the whole work, those that write only for a commit
        with self._locked("fill"):
            with explained(self._path):
                table = self._snapshot(_PASSAGES)
                todo = rows_without(table, self._vectors.keys(encoder))
            for start in range(0, len(todo), batch):
                with explained(self._path):
                    passages = list(passages_at(table, todo[start : start + batch]).values())
                vectors = encoder.encode_passages(passages)
                with self._locked("write"), explained(self._path):
                    self._vectors.add(encoder, passages, vectors)
                progress("encoding passages", min(start + batch, len(todo)), len(todo))
        return len(todo)

    def without_vector(self, encoder: PassageEncoder, at_most: int) -> list[Passage]:
        """Return a passage of each text that has no vector yet, `at_most` so many."""
        with explained(self._path):
            table = self._snapshot(_PASSAGES)
            rows = rows_without(table, self._vectors.keys(encoder))
            return list(passages_at(table, rows[:at_most]).values())

    def add_vectors(self, encoder: PassageEncoder, passages: Sequence[Passage], vectors: Vectors) -> None:
        """Add the vectors that `encoder` made of these passages; texts that have one keep it."""
        with self._locked("write"), explained(self._path):
            self._vectors.add_new(encoder, passages, vectors)

    def vectors_of(self, encoder: Encoder, passages: Sequence[Passage]) -> dict[str, npt.NDArray[np.float32]]:
        """Return the vectors that this encoder made of the passages' texts, by text; those that are missing are not.

        Above `EXACT_UP_TO` vectors there are none: to look for a few takes longer than to make them.
        """
        with explained(self._path):
            return self._vectors.of(encoder, passages, EXACT_UP_TO)

    def lexical(self) -> Retriever:
        """Return BM25 over the passages as they are now."""
        with explained(self._path):
            return lexical_retriever(self._path, self._snapshot(_PASSAGES))

    def dense(self, encoder: Encoder, *, exact_up_to: int = EXACT_UP_TO) -> Retriever:
        """Return nearest-vector search over the passages that have a vector now; its scores are the encoder's.

        Up to `exact_up_to` vectors are held in memory and compared exactly, a whole batch of queries at once.
        """
        with explained(self._path):
            vectors = self._vectors.open(encoder)
            if vectors is None and len(self):
                raise no_vector_yet(self._path)
            return dense_retriever(self._path, self._snapshot(_PASSAGES), vectors, encoder, exact_up_to)

    def hybrid(self, encoder: Encoder) -> Retriever:
        """Return BM25 and dense retrieval, fused by their scores."""
        return HybridRetriever([self.lexical(), self.dense(encoder)])

    def _table(self, name: str) -> Table:
        return self._db.open_table(name)

    def _snapshot(self, name: str) -> Table:
        table = self._table(name)
        table.checkout(table.version)
        return table

    @contextmanager
    def _locked(self, what: str) -> Iterator[None]:
        lock = FileLock(self._path / f".{what}.lock", timeout=self._lock_timeout)
        try:
            held = lock.acquire()
        except Timeout:
            raise IndexStoreError(
                f"{self._path}: another process is writing to the index (waited {self._lock_timeout:g} s); "
                "try again when it has finished"
            ) from None
        except OSError as error:
            raise IndexStoreError(f"{self._path}: the index cannot be written ({error})") from error
        with held:
            yield
