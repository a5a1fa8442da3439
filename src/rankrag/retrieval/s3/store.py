"""The index in a bucket: read from a snapshot on this disk, changed by publishing the next version.

A change is made in a copy of the newest snapshot, uploaded, and becomes a version by one swap in the bucket. Who is
beaten to it moves to the version that won and makes the change again; so no writer loses another's work.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from rankrag.data.progress import Progress, quiet
from rankrag.documents.parts import IndexedSource, SourcePassages
from rankrag.errors import IndexStoreError
from rankrag.retrieval import Retriever
from rankrag.retrieval.encoder import Encoder, PassageEncoder
from rankrag.retrieval.s3.address import BucketPlace, parse_bucket
from rankrag.retrieval.s3.bucket import Bucket, MissingObjectError, SwapError, UnreachableError
from rankrag.retrieval.s3.snapshots import Snapshots, cache_of, hold
from rankrag.retrieval.s3.versions import Head, check_swaps, delete_all, drop_old, files_in, publish_version, read_head
from rankrag.retrieval.store import PassageStore
from rankrag.types import Passage, Ranking

TRIES = 50
"""Changes that are begun anew because others publish all the time, before it is an error."""

PATIENCE = 2.0
"""Seconds that `version` waits for a move; a longer one goes on while the snapshot at hand answers."""

VECTORS_AT_ONCE = 4096
"""Vectors that are published together."""

log = logging.getLogger(__name__)
_said: set[str] = set()  # indexes whose bucket was said to be out of reach, until it answers again

_NO_OLD_STATES = timedelta(milliseconds=1)  # nobody reads them in a snapshot

Result = TypeVar("Result")


class BucketStore:
    """An index in a bucket. Any number of machines read and write it; a reader needs no right to write.

    It answers from the version that was the newest when it was opened, when it last wrote, or when `version` was last
    asked.
    """

    def __init__(self, place: BucketPlace, lock_timeout: float) -> None:
        self.place = place
        self._lock_timeout = lock_timeout
        self._bucket = Bucket(place)
        self._snapshots = Snapshots(cache_of(place))
        self._asking = threading.Lock()
        self._mover: threading.Thread | None = None
        self._name: str | None = None
        self._local: PassageStore

    @classmethod
    def open(cls, address: str, *, lock_timeout: float = 30.0) -> BucketStore:
        """Return the index at an address; a writer waits `lock_timeout` seconds for another one on this machine."""
        store = cls(parse_bucket(address), lock_timeout)
        store._move()
        if store._name is None:
            raise IndexStoreError(
                f"{store.place}: no index there; make one with: rankrag index DOCUMENTS --index {store.place}"
            )
        return store

    @classmethod
    def create_or_open(cls, address: str, *, lock_timeout: float = 30.0) -> BucketStore:
        """Return the index at an address, a new one if there is none; one in the last format is brought up to date."""
        store = cls(parse_bucket(address), lock_timeout)
        try:
            store._move()
        except IndexStoreError:
            store._change(len)  # brings the format up to date; whatever else was wrong is raised again
        if store._name is None:
            store._change(len)
            check_swaps(store._bucket)
        return store

    def __len__(self) -> int:
        """Return the number of passages."""
        return self._ask(len)

    def version(self) -> str:
        """Return the name of the version at hand, after moving to the newest if that takes no more than a moment."""
        with self._asking:
            if self._mover is None or not self._mover.is_alive():
                self._mover = threading.Thread(target=self._move_if_possible, daemon=True)
                self._mover.start()
                self._mover.join(PATIENCE)
        return str(self._name)

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
        try:
            drop_old(self._bucket, read_head(self._bucket))
        except IndexStoreError as error:
            log.warning("old versions are not deleted: %s", error)

    def discard_empty(self) -> None:
        """Take an index that holds no passage out of the bucket."""
        self._move()
        if not len(self):
            delete_all(self._bucket)

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
        self._move()  # others may have filled some
        todo, done = self.missing_vectors(), 0
        while passages := self._ask(lambda local: local.without_vector(encoder, VECTORS_AT_ONCE)):
            made: list[npt.NDArray[np.float32]] = []
            try:
                for start in range(0, len(passages), batch):
                    made.append(encoder.encode_passages(passages[start : start + batch]))
                    done += len(made[-1])
                    progress("encoding passages", min(done, todo), todo)
            finally:  # what an interrupted run has made is published, too
                if made:
                    self._change(partial(_add, encoder, passages, np.concatenate(made)))
        return done

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
        """Return BM25 and dense retrieval, fused by their scores."""
        return self._ask(lambda local: _HoldingRetriever(local.hybrid(encoder), local))

    def _ask(self, question: Callable[[PassageStore], Result]) -> Result:
        """Return what the snapshot at hand answers; it stays on the disk meanwhile."""
        with self._named():
            return question(self._local)

    def _change(self, change: Callable[[PassageStore], Result]) -> Result:
        """Make a change the next version, if it changes anything; return what `change` does."""
        with self._writing(), self._named():
            for _ in range(TRIES):
                with suppress(SwapError):
                    return self._changed(change)
        raise IndexStoreError(f"{self.place}: others publish all the time; run the same command again")

    def _changed(self, change: Callable[[PassageStore], Result]) -> Result:
        """Do `_change` once; `SwapError` if another machine has published meanwhile."""
        with self._snapshots.moving():
            head = self._fetched()
            base = head.names[0] if head.names else None
            folder = self._snapshots.copy(base)
            copy = PassageStore.create_or_open(folder)
            if base:
                hold(self._snapshots.folder(base), copy)
        result = change(copy)
        known = self._snapshots.files(base) if base else ()
        files = files_in(folder, self._snapshots.folder(base) if base else None, known)
        new = publish_version(self._bucket, head, folder, files) if set(files) - set(known) else None
        del copy  # holds the snapshot that it was made from
        with self._snapshots.moving():
            if new:
                self._snapshots.adopt(folder, *new)
            self._use(new[0] if new else str(base))
        return result

    def _move(self) -> None:
        """Move to the newest version; to the newest on this disk, which is said once, if the bucket is out of reach."""
        with self._named(), self._snapshots.moving():
            try:
                names = self._fetched().names
                _said.discard(str(self.place))
            except UnreachableError as error:
                name = self._snapshots.newest()
                if name is None:
                    raise
                names = (name,)
                self._say(error, name)
            if names:
                self._use(names[0])

    def _move_if_possible(self) -> None:
        try:
            self._move()
        except IndexStoreError as error:
            self._say(error, str(self._name))

    def _say(self, error: IndexStoreError, name: str) -> None:
        if str(self.place) not in _said:
            _said.add(str(self.place))
            log.warning("%s; version %d on this disk goes on answering", error, int(name.partition("-")[0]))

    def _fetched(self) -> Head:
        """Return what the bucket holds, with its newest version on this disk. Needs `moving`."""
        while True:
            head = read_head(self._bucket)
            try:
                if head.names:
                    self._snapshots.fetch(self._bucket, head.names[0])
                return head
            except MissingObjectError:  # so many versions came meanwhile that this one is gone: begin with the newest
                if read_head(self._bucket) == head:
                    raise

    def _use(self, name: str) -> None:
        """Answer from a snapshot, and remove those that nobody answers from any more. Needs `moving`."""
        if name != self._name:
            folder = self._snapshots.folder(name)
            local = PassageStore.open(folder)
            hold(folder, local)
            self._local, self._name = local, name
            self._snapshots.tidy(keep=name)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with FileLock(self._snapshots.root / "write.lock", timeout=self._lock_timeout):
                yield
        except Timeout:
            raise IndexStoreError(
                f"{self.place}: another process on this machine is writing to the index (waited "
                f"{self._lock_timeout:g} s); try again when it has finished"
            ) from None

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Let errors about a snapshot name the index, which the user knows, and not the folder of the cache."""
        try:
            yield
        except IndexStoreError as error:
            folder = re.escape(str(self._snapshots.root)) + r"/(?:versions|writing)/[^\s:/]+"
            error.args = (re.sub(folder, str(self.place), str(error)),)
            raise


@dataclass(frozen=True, slots=True)
class _HoldingRetriever:
    """A retriever over a snapshot, which stays on the disk as long as this lives."""

    retriever: Retriever
    held: PassageStore

    def retrieve(self, queries: Sequence[str], k: int) -> list[Ranking]:
        """Return for each query at most `k` passages, best first."""
        return self.retriever.retrieve(queries, k)


def _add(
    encoder: PassageEncoder, passages: Sequence[Passage], vectors: npt.NDArray[np.float32], local: PassageStore
) -> None:
    local.add_vectors(encoder, passages[: len(vectors)], vectors)
