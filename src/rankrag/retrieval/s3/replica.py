"""The version of an index that this process answers from, and how it comes to the next one.

A change is made in a copy of the newest snapshot, uploaded, and becomes a version by one swap in the bucket. Who is
beaten to it moves to the version that won and makes the change again; so no writer loses another's work.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from filelock import FileLock, Timeout

from rankrag.errors import IndexStoreError
from rankrag.retrieval.s3.address import BucketPlace
from rankrag.retrieval.s3.bucket import Bucket, MissingObjectError, SwapError, UnreachableError
from rankrag.retrieval.s3.snapshots import Snapshots, cache_of, hold
from rankrag.retrieval.s3.versions import Head, check_swaps, files_in, publish_version, read_head, take_away
from rankrag.retrieval.store import PassageStore

TRIES = 50
"""Changes that are begun anew because others publish all the time, before it is an error."""

PATIENCE = 2.0
"""Seconds that `look` waits for a move; a longer one goes on while the snapshot at hand answers."""

log = logging.getLogger(__name__)
_said: set[str] = set()  # indexes whose bucket was said to be out of reach, until it answers again

Result = TypeVar("Result")


class Replica:
    """A snapshot that is answered from, with the bucket that it came from.

    Args:
        place: of the index.
        lock_timeout: seconds that a writer waits for another one on this machine.
    """

    def __init__(self, place: BucketPlace, lock_timeout: float) -> None:
        self.place, self.bucket = place, Bucket(place)
        self.name: str | None = None
        """The version's name, `None` before the first."""
        self._local: PassageStore
        self._lock_timeout = lock_timeout
        self._snapshots = Snapshots(cache_of(place))
        self._looking = threading.Lock()
        self._mover: threading.Thread | None = None

    def ask(self, question: Callable[[PassageStore], Result]) -> Result:
        """Return what the snapshot answers; it stays on the disk meanwhile."""
        with self._named():
            return question(self._local)

    def move(self) -> None:
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

    def look(self) -> str:
        """Return the name of the version at hand, after moving to the newest if that takes no more than a moment."""
        with self._looking:
            if self._mover is None or not self._mover.is_alive():
                self._mover = threading.Thread(target=self._move_if_possible, daemon=True)
                self._mover.start()
                self._mover.join(PATIENCE)
        return str(self.name)

    def change(self, change: Callable[[PassageStore], Result]) -> Result:
        """Make a change the next version, if it changes anything; return what `change` does."""
        with self._writing(), self._named():
            for _ in range(TRIES):
                with suppress(SwapError):
                    return self._changed(change)
        raise IndexStoreError(f"{self.place}: others publish all the time; run the same command again")

    def create(self) -> None:
        """Make the first version, which is empty."""
        check_swaps(self.bucket)
        self.change(len)

    def take_away_empty(self) -> None:
        """Take the index out of the bucket if its newest version holds no passage; one that comes meanwhile stands."""
        with self._writing(), self._named(), self._snapshots.moving():
            head = self._fetched()
            if head.names:
                self._use(head.names[0])
                if not len(self._local):
                    with suppress(SwapError):
                        take_away(self.bucket, head)

    def _changed(self, change: Callable[[PassageStore], Result]) -> Result:
        """Do `change` once; `SwapError` if another machine has published meanwhile."""
        with self._snapshots.moving():
            head = self._fetched()
            base = head.names[0] if head.names else None
            if head.etag is None and self.name is not None:
                raise IndexStoreError(f"{self.place}: the index was taken away; make it again with rankrag index")
            folder = self._snapshots.copy(base)
            copy = PassageStore.create_or_open(folder)
            if base:
                hold(self._snapshots.folder(base), copy)
        result = change(copy)
        known = self._snapshots.files(base) if base else ()
        files = files_in(folder, self._snapshots.folder(base) if base else None, known)
        new = publish_version(self.bucket, head, folder, files) if set(files) - set(known) else None
        del copy  # it holds the snapshot that it was made from
        with self._snapshots.moving():
            if new:
                self._snapshots.adopt(folder, *new)
            self._use(new[0] if new else str(base))
        return result

    def _move_if_possible(self) -> None:
        try:
            self.move()
        except IndexStoreError as error:
            self._say(error, str(self.name))

    def _say(self, error: IndexStoreError, name: str) -> None:
        if str(self.place) not in _said:
            _said.add(str(self.place))
            log.warning("%s; version %d on this disk goes on answering", error, int(name.partition("-")[0]))

    def _fetched(self) -> Head:
        """Return what the bucket holds, with its newest version on this disk. Needs `moving`."""
        while True:
            head = read_head(self.bucket)
            try:
                if head.names:
                    self._snapshots.fetch(self.bucket, head.names[0])
                return head
            except MissingObjectError:  # so many versions came meanwhile that this one is gone: begin with the newest
                if read_head(self.bucket) == head:
                    raise

    def _use(self, name: str) -> None:
        """Answer from a snapshot, and remove those that nobody answers from any more. Needs `moving`."""
        if name != self.name:
            folder = self._snapshots.folder(name)
            local = PassageStore.open(folder)
            hold(folder, local)
            self._local, self.name = local, name
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
            error.args = (re.sub(folder, lambda _: str(self.place), str(error)),)
            raise
