"""Uploaded files of one collection, and the thread that indexes them beside answering."""

from __future__ import annotations

import asyncio
import os
import re
import threading
import unicodedata
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from rankrag.errors import DataError

_UNSAFE = re.compile(r"[\x00-\x1f\x7f/\\:*?\"<>|]+")
_LONGEST_NAME = 180
_KEPT_EVENTS = 500
_WAITS = 15.0


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to a file: "queued", "reading", "indexed", "failed" or "removed"; `detail` says what or why."""

    name: str
    state: str
    detail: str = ""

    def row(self) -> dict[str, Any]:
        """Return the event as JSON takes it."""
        return {"name": self.name, "state": self.state, "detail": self.detail}


Tell = Callable[[Event], None]
Stopped = Callable[[], bool]


class Uploads:
    """A folder of uploaded files, and what happens to each.

    `index` reads a file, or all files of a folder, into the collection's index. It tells what becomes of them, and ends
    early once it is told to stop.
    """

    def __init__(self, folder: Path, index: Callable[[Path, Tell, Stopped], None]) -> None:
        self.folder = folder
        self._index = index
        self._events: OrderedDict[str, Event] = OrderedDict()
        self._watchers: set[tuple[asyncio.AbstractEventLoop, asyncio.Queue[Event]]] = set()
        self._lock = threading.Lock()
        self._todo: SimpleQueue[Path | None] = SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"index {folder.name}", daemon=True)
        self._thread.start()

    def checked_name(self, name: str) -> str:
        """Return the name that a file is stored by: its last part, without what no file system takes.

        `DataError` where nothing is left, or it would be hidden.
        """
        last = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
        clean = _UNSAFE.sub("_", last).strip().strip(".")
        stem, suffix = os.path.splitext(clean)
        if not stem.strip("_ "):
            raise DataError(f"{name!r}: no name of a file; give the upload a name, such as lease.pdf")
        while len((stem + suffix).encode()) > _LONGEST_NAME:
            stem = stem[:-1]
        return stem + suffix

    def partial(self) -> Path:
        """Return a file to write an upload to, in the same file system as its place; a start removes what is left."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f".{uuid.uuid4().hex}.partial"

    def take(self, partial: Path, name: str) -> Event:
        """Move a written upload to its place, whole, and queue it for indexing."""
        if partial.stat().st_size == 0:
            raise DataError(f"{name}: the file is empty")
        os.replace(partial, self.folder / name)
        return self.queue([self.folder / name])[0]

    def queue(self, paths: list[Path]) -> list[Event]:
        """Queue files for indexing, those that are gone as well."""
        events = [Event(path.name, "queued") for path in paths]
        for path, event in zip(paths, events, strict=True):
            self._tell(event)
            self._todo.put(path)
        return events

    def start(self) -> None:
        """Remove what a killed upload left, and index what a killed server had stored but not read."""
        for left in self.folder.glob(".*.partial"):
            left.unlink(missing_ok=True)
        if self.folder.is_dir():
            self._todo.put(self.folder)

    def pending(self) -> list[Event]:
        """Return the last event of each file that is not indexed (yet)."""
        with self._lock:
            return [event for event in self._events.values() if event.state not in ("indexed", "removed")]

    async def events(self) -> AsyncIterator[Event | None]:
        """Yield what is known of each file, then what happens; None now and then while nothing does."""
        queue: asyncio.Queue[Event] = asyncio.Queue()
        watcher = (asyncio.get_running_loop(), queue)
        with self._lock:
            known = list(self._events.values())
            self._watchers.add(watcher)
        try:
            for event in known:
                yield event
            yield None
            while True:
                try:
                    yield await asyncio.wait_for(queue.get(), _WAITS)
                except TimeoutError:
                    yield None
        finally:
            with self._lock:
                self._watchers.discard(watcher)

    def close(self, seconds: float = 10.0) -> None:
        """Let the thread end after the file that it reads; the next start goes on with the rest."""
        self._stopping.set()
        self._todo.put(None)
        self._thread.join(seconds)

    def _run(self) -> None:
        while (path := self._todo.get()) is not None and not self._stopping.is_set():
            self._index(path, self._tell, self._stopping.is_set)

    def _tell(self, event: Event) -> None:
        with self._lock:
            self._events.pop(event.name, None)
            self._events[event.name] = event
            while len(self._events) > _KEPT_EVENTS:
                self._events.popitem(last=False)
            watchers = list(self._watchers)
        for loop, queue in watchers:
            try:
                loop.call_soon_threadsafe(queue.put_nowait, event)
            except RuntimeError:  # a loop that is closed watches no more
                with self._lock:
                    self._watchers.discard((loop, queue))
