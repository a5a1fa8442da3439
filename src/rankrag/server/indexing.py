"""Indexing beside answering: files are read in a thread of their own, their vectors made when the model is free."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rankrag.documents.indexing import Summary, bring_up_to_date
from rankrag.errors import RankragError
from rankrag.retrieval.encoder import Encoder
from rankrag.retrieval.homes import Store
from rankrag.server.scheduler import Scheduler
from rankrag.server.uploads import Event, Stopped, Tell
from rankrag.server.work import GoneError, Ticket
from rankrag.types import Passage

LOOK_EVERY = 0.2
"""Seconds between two looks whether the server stops."""

log = logging.getLogger(__name__)


class Indexer:
    """Reads files into an index. Vectors go through the model's queue, behind all questions."""

    def __init__(self, scheduler: Scheduler, encoder: Encoder | None, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduler, self._encoder, self._loop = scheduler, encoder, loop

    def index(self, store: Store, path: Path, tell: Tell, stopped: Stopped) -> None:
        """Bring the index up to date with a file or a folder, and tell what became of it.

        Once `stopped` says so, it ends after the file that it reads.
        """
        tell(Event(path.name, "reading"))
        try:
            tell(_indexed(store, path, stopped))
        except _StoppedError:
            tell(Event(path.name, "queued"))
            return
        except RankragError as error:
            tell(Event(path.name, "failed", str(error)))
        except Exception as error:
            log.exception("%s: a fault of the reader", path)
            tell(Event(path.name, "failed", f"a fault of rankrag ({type(error).__name__}); the log says more"))
        self._fill_vectors(store, stopped)

    def _fill_vectors(self, store: Store, stopped: Stopped) -> None:
        if self._encoder is None:
            return
        try:
            if store.missing_vectors():
                store.fill_vectors(_PatientEncoder(self._scheduler, self._encoder, self._loop, stopped), batch=32)
                store.refresh()
        except RankragError as error:  # BM25 finds the passages meanwhile; the next upload tries again
            log.warning("vectors are missing: %s", error)


class _StoppedError(Exception):
    """The server stops: the rest is read at its next start."""


def _indexed(store: Store, path: Path, stopped: Stopped) -> Event:
    def progress(*_: object) -> None:
        if stopped():
            raise _StoppedError

    if not path.exists():
        store.remove(os.path.abspath(path))
        store.refresh()
        return Event(path.name, "removed")
    summary: Summary = bring_up_to_date(store, [path], progress=progress)
    if reasons := [*summary.left_out, *summary.kept]:
        return Event(path.name, "failed", "; ".join(reason.replace(f"{path.parent}/", "") for reason in reasons))
    lost = "; ".join(loss.replace(f"{path.parent}/", "") for loss in summary.losses)
    return Event(path.name, "indexed", lost)


class _PatientEncoder:
    """An encoder whose work waits until nobody asks the model for anything, or until the server stops."""

    def __init__(
        self, scheduler: Scheduler, encoder: Encoder, loop: asyncio.AbstractEventLoop, stopped: Stopped
    ) -> None:
        self._scheduler, self._encoder, self._loop, self._stopped = scheduler, encoder, loop, stopped
        self.name, self.similarity = encoder.name, encoder.similarity

    def encode_passages(self, passages: Sequence[Passage]) -> npt.NDArray[np.float32]:
        """Return the vectors of passages, once it is their turn; `GoneError` if the server stops before that."""
        work = self._scheduler.call(lambda: self._encoder.encode_passages(passages), Ticket("index"), background=True)
        vectors = asyncio.run_coroutine_threadsafe(work, self._loop)
        while not self._stopped():
            with suppress(TimeoutError):
                return vectors.result(LOOK_EVERY)
        vectors.cancel()
        raise GoneError("the server stops; the rest gets its vectors at the next start")
