"""Where an index can be: a folder (`store`), a database (`postgres`), a bucket (`s3`). Callers know only `Store`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rankrag.data.progress import Progress, quiet
from rankrag.documents.parts import IndexedSource, SourcePassages
from rankrag.retrieval import Retriever
from rankrag.retrieval.postgres.address import is_database
from rankrag.retrieval.s3.address import is_bucket, parse_bucket
from rankrag.types import Passage

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from rankrag.retrieval.encoder import Encoder, PassageEncoder


class Store(Protocol):
    """An index: documents in, documents out, and retrievers over them.

    Each change is whole or not at all, and seen by every process from then on. `IndexStoreError` says what is wrong
    with the home, `DataError` what is wrong with a document.
    """

    def __len__(self) -> int:
        """Return the number of passages."""
        ...

    def version(self) -> object:
        """Return a mark that changes whenever passages or vectors do, by whichever process."""
        ...

    def sources(self) -> list[IndexedSource]:
        """Return the indexed documents, by path."""
        ...

    def passages(self, source: str | None = None) -> list[Passage]:
        """Return all passages, or a document's, by path, each document from its start to its end."""
        ...

    def get(self, ids: Iterable[str]) -> dict[str, Passage]:
        """Return the passages with these ids; an unknown id is left out."""
        ...

    def put(self, batch: Sequence[SourcePassages]) -> None:
        """Replace all passages of these documents by the ones given; a new document is added."""
        ...

    def remove(self, *names: str) -> int:
        """Remove documents, or folders of them; return the number of passages, and raise if there were none."""
        ...

    def refresh(self) -> None:
        """Bring the search up to speed after changes, and drop what is no longer used."""
        ...

    def discard_empty(self) -> None:
        """Take away an index that holds no passage."""
        ...

    def why_no_vectors(self) -> str:
        """Return why this home can hold no vectors, in one line that says what to do; empty if it can."""
        ...

    def encoder_name(self) -> str | None:
        """Return the name of the encoder that made the vectors, `None` before the first."""
        ...

    def missing_vectors(self) -> int:
        """Return the number of passages that have no vector yet."""
        ...

    def fill_vectors(self, encoder: PassageEncoder, progress: Progress = quiet, *, batch: int = 256) -> int:
        """Encode the texts that have no vector yet, a batch a commit; return their number."""
        ...

    def vectors_of(self, encoder: Encoder, passages: Sequence[Passage]) -> dict[str, npt.NDArray[np.float32]]:
        """Return the vectors that this encoder made of the passages' texts, by text; those that are missing are not."""
        ...

    def lexical(self) -> Retriever:
        """Return BM25 over the passages."""
        ...

    def dense(self, encoder: Encoder) -> Retriever:
        """Return nearest-vector search over the passages that have a vector."""
        ...

    def hybrid(self, encoder: Encoder) -> Retriever:
        """Return both, fused by their scores."""
        ...


def open_store(place: Path | str) -> Store:
    """Return the index in a folder or at an address; `IndexStoreError` if there is none."""
    if isinstance(place, str) and is_database(place):
        from rankrag.retrieval.postgres.store import PostgresStore

        return PostgresStore.open(place)
    if isinstance(place, str) and is_bucket(place):
        from rankrag.retrieval.s3.store import BucketStore

        return BucketStore.open(place)
    from rankrag.retrieval.store import PassageStore

    return PassageStore.open(place)


def create_store(place: Path | str) -> Store:
    """Return the index in a folder or at an address, a new one if there is none."""
    if isinstance(place, str) and is_database(place):
        from rankrag.retrieval.postgres.store import PostgresStore

        return PostgresStore.create_or_open(place)
    if isinstance(place, str) and is_bucket(place):
        from rankrag.retrieval.s3.store import BucketStore

        return BucketStore.create_or_open(place)
    from rankrag.retrieval.store import PassageStore

    return PassageStore.create_or_open(place)


def folder_beside(place: Path | str) -> Path | None:
    """Return the folder of this machine in which an index's reader may keep things; `None` if there is none.

    It is the index's own folder if that can be written to, or that of a bucket's snapshots.
    """
    if isinstance(place, str) and is_bucket(place):
        from rankrag.retrieval.s3.snapshots import cache_of

        return cache_of(parse_bucket(place))
    return Path(place) if Path(place).is_dir() and os.access(place, os.W_OK) else None
