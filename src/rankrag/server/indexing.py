"""Indexing beside answering: files are read in a thread of their own, their vectors made when the model is free."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rankrag.documents.indexing import Summary, bring_up_to_date
from rankrag.errors import RankragError
from rankrag.retrieval.encoder import Encoder
from rankrag.retrieval.store import PassageStore
from rankrag.server.scheduler import Scheduler
from rankrag.server.uploads import Event
from rankrag.server.work import Ticket
from rankrag.types import Passage

Tell = Callable[[Event], None]

log = logging.getLogger(__name__)


class Indexer:
    """Reads files into an index. Vectors go through the model's queue, behind all questions."""

    def __init__(self, scheduler: Scheduler, encoder: Encoder | None, loop: asyncio.AbstractEventLoop) -> None:
        self._encoder = _PatientEncoder(scheduler, encoder, loop) if encoder else None

    def index(self, store: PassageStore, paths: Sequence[Path], tell: Tell) -> None:
        """Bring the index up to date with these files and folders, and tell what became of each.

        One that fails does not keep the others out.
        """
        for path in paths:
            tell(Event(path.name, "reading"))
            try:
                tell(_indexed(store, path))
            except RankragError as error:
                tell(Event(path.name, "failed", str(error)))
            except Exception as error:
                log.exception("%s: a fault of the reader", path)
                tell(Event(path.name, "failed", f"a fault of rankrag ({type(error).__name__}); the log says more"))
        try:
            if self._encoder and store.missing_vectors():
                store.fill_vectors(self._encoder, batch=32)
                store.refresh()
        except RankragError as error:  # BM25 finds the passages meanwhile; the next upload tries again
            log.warning("vectors are missing: %s", error)


def _indexed(store: PassageStore, path: Path) -> Event:
    if not path.exists():
        store.remove(os.path.abspath(path))
        store.refresh()
        return Event(path.name, "removed")
    summary: Summary = bring_up_to_date(store, [path])
    if reasons := [*summary.left_out, *summary.kept]:
        return Event(path.name, "failed", "; ".join(reason.replace(f"{path.parent}/", "") for reason in reasons))
    lost = "; ".join(loss.replace(f"{path.parent}/", "") for loss in summary.losses)
    return Event(path.name, "indexed", lost)


class _PatientEncoder:
    """An encoder whose work waits until nobody asks the model for anything."""

    def __init__(self, scheduler: Scheduler, encoder: Encoder, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduler, self._encoder, self._loop = scheduler, encoder, loop
        self.name, self.similarity = encoder.name, encoder.similarity

    def encode_passages(self, passages: Sequence[Passage]) -> npt.NDArray[np.float32]:
        """Return the vectors of passages, once it is their turn."""
        work = self._scheduler.call(lambda: self._encoder.encode_passages(passages), Ticket("index"), background=True)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()
