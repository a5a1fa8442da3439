"""The index in a bucket: what `retrieval.homes.Store` asks for, answered from a snapshot and changed by publishing."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt

from rankrag.data.progress import Progress, quiet
from rankrag.documents.parts import IndexedSource, SourcePassages
from rankrag.errors import IndexStoreError
from rankrag.retrieval import Retriever
from rankrag.retrieval.encoder import Encoder, PassageEncoder
from rankrag.retrieval.fusion import HybridRetriever
from rankrag.retrieval.s3.address import parse_bucket
from rankrag.retrieval.s3.replica import Replica
from rankrag.retrieval.s3.versions import drop_old, read_head
from rankrag.retrieval.store import PassageStore
from rankrag.types import Passage, Ranking

VECTORS_AT_ONCE = 4096
"""Vectors that are published together."""

log = logging.getLogger(__name__)

_NO_OLD_STATES = timedelta(milliseconds=1)  # nobody reads them in a snapshot


class BucketStore:
    """An index in a bucket. Any number of machines read and write it; a reader needs no right to write.

    It answers from the version that was the newest when it was opened, when it last wrote, or when `version` was last
    asked.
    """

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._ask, self._change = replica.ask, replica.change

    @classmethod
    def open(cls, address: str, *, lock_timeout: float = 30.0) -> BucketStore:
        """Return the index at an address; a writer waits `lock_timeout` seconds for another one on this machine."""
        replica = Replica(parse_bucket(address), lock_timeout)
        replica.move()
        if replica.name is None:
            place = replica.place
            raise IndexStoreError(f"{place}: no index there; make one with: rankrag index DOCUMENTS --index {place}")
        return cls(replica)

    @classmethod
    def create_or_open(cls, address: str, *, lock_timeout: float = 30.0) -> BucketStore:
        """Return the index at an address, a new one if there is none; one in the last format is brought up to date."""
        replica = Replica(parse_bucket(address), lock_timeout)
        try:
            replica.move()
        except IndexStoreError:
            replica.change(len)  # brings the format up to date; whatever else was wrong is raised again
        if replica.name is None:
            replica.create()
        return cls(replica)

    def __len__(self) -> int:
        """Return the number of passages."""
        return self._ask(len)

    def version(self) -> str:
        """Return the name of the version at hand, after moving to the newest if that takes no more than a moment."""
        return self._replica.look()

    def sources(self) -> list[IndexedSource]:
        """Return the indexed documents, by path."""
        return self._ask(lambda local: local.sources())

    def passages(self, source: str | None = None) -> list[Passage]:
        """Return all passages, or a document's, by path, each document from its start to its end."""
        return self._ask(lambda local: local.passages(source))

    def get(self, ids: Iterable[str]) -> dict[str, Passage]:
        """Return the passages with these ids; an unknown id is left out."""
        return self._ask(lambda local: local.get(ids))

    def put(self, batch: Sequence[SourcePassages]) -> None:
        """Publish a version in which these documents have the passages given, and no others."""
        self._change(lambda local: local.put(batch))

    def remove(self, *names: str) -> int:
        """Publish a version without these documents, or folders of them.

        Return the number of passages removed; `IndexStoreError` where there were none.
        """
        return self._change(lambda local: local.remove(*names))

    def refresh(self) -> None:
        """Publish a version with its indices up to date, and delete what the kept versions do not use."""
        self._change(lambda local: local.refresh(keep=_NO_OLD_STATES))
        self._drop_old()

    def _drop_old(self) -> None:
        try:
            drop_old(self._replica.bucket, read_head(self._replica.bucket))
        except IndexStoreError as error:
            log.warning("old versions are not deleted: %s", error)

    def discard_empty(self) -> None:
        """Take an index that holds no passage out of the bucket; what another process publishes meanwhile stands."""
        self._replica.take_away_empty()
        self._drop_old()

    def why_no_vectors(self) -> str:
        """Return nothing: a snapshot can always hold vectors."""
        return ""

    def encoder_name(self) -> str | None:
        """Return the name of the encoder that made the vectors, `None` before the first."""
        return self._ask(lambda local: local.encoder_name())

    def missing_vectors(self) -> int:
        """Return the number of passages that have no vector yet, which `dense` cannot find."""
        return self._ask(lambda local: local.missing_vectors())

    def fill_vectors(self, encoder: PassageEncoder, progress: Progress = quiet, *, batch: int = 256) -> int:
        """Encode the texts that have no vector yet, `batch` at a time; return their number.

        They are published `VECTORS_AT_ONCE` at a time, so that a killed run loses no more than those.
        """
        self._replica.move()  # others may have filled some
        todo, done = self.missing_vectors(), 0
        while passages := self._ask(lambda local: local.without_vector(encoder, VECTORS_AT_ONCE)):
            made: list[npt.NDArray[np.float32]] = []
            try:
                for start in range(0, len(passages), batch):
                    made.append(encoder.encode_passages(passages[start : start + batch]))
                    done += len(made[-1])
                    progress("encoding passages", min(done, todo), todo)
            finally:  # what an interrupted run has made is published, too
                self._add_vectors(encoder, passages, made)
        return done

    def _add_vectors(
        self, encoder: PassageEncoder, passages: Sequence[Passage], made: Sequence[npt.NDArray[np.float32]]
    ) -> None:
        if made:
            vectors = np.concatenate(made)
            self._change(lambda local: local.add_vectors(encoder, passages[: len(vectors)], vectors))

    def vectors_of(self, encoder: Encoder, passages: Sequence[Passage]) -> dict[str, npt.NDArray[np.float32]]:
        """Return the vectors that this encoder made of the passages' texts, by text; those that are missing are not."""
        return self._ask(lambda local: local.vectors_of(encoder, passages))

    def lexical(self) -> Retriever:
        """Return BM25 over the passages of the version at hand."""
        return self._ask(lambda local: _HoldingRetriever(local.lexical(), local))

    def dense(self, encoder: Encoder) -> Retriever:
        """Return nearest-vector search over the passages that have a vector in the version at hand."""
        return self._ask(lambda local: _HoldingRetriever(local.dense(encoder), local))

    def hybrid(self, encoder: Encoder) -> Retriever:
        """Return BM25 and dense retrieval of one version, fused by their scores."""

        def both(local: PassageStore) -> Retriever:
            parts = (local.lexical(), local.dense(encoder))
            return HybridRetriever([_HoldingRetriever(part, local) for part in parts])

        return self._ask(both)


@dataclass(frozen=True, slots=True)
class _HoldingRetriever:
    """A retriever over a snapshot, which stays on the disk as long as this lives."""

    retriever: Retriever
    held: PassageStore

    def retrieve(self, queries: Sequence[str], k: int) -> list[Ranking]:
        """Return for each query at most `k` passages, best first."""
        return self.retriever.retrieve(queries, k)
