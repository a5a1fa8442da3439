"""Readers in processes of their own: a file that hangs or crashes a reader costs only itself."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Protocol

from rankrag.documents.chunking import split
from rankrag.documents.document import Note
from rankrag.documents.readers import read_document
from rankrag.errors import DataError
from rankrag.types import Passage

_LARGE = 10 << 20  # bytes; larger files get more time
_SECONDS_PER_MB = 2


class FileReaders(Protocol):
    """Readers of files that give their outcomes in any order."""

    def submit(self, path: Path) -> Callable[[], Read]:
        """Begin to read a file; the result returns its passages or raises why there are none."""
        ...

    def close(self) -> None:
        """Read no other file."""
        ...


@dataclass(frozen=True, slots=True)
class ReadSettings:
    """How files are read.

    `processes` readers work at once, each for at most `seconds` on a file; 0 reads in this process, without a limit.
    They may be `elsewhere`, on the nodes of a cluster.
    """

    ocr: bool = False
    processes: int = 0
    seconds: float = 60.0
    elsewhere: FileReaders | None = None


HERE = ReadSettings()
"""Files are read in this process, one after the other."""


@dataclass(frozen=True, slots=True)
class Read:
    """The passages of a file and what should be said about it."""

    passages: tuple[Passage, ...]
    notes: tuple[Note, ...]


def passages_in(path: Path, *, ocr: bool) -> Read:
    """Return the passages of a file that holds no rows."""
    document = read_document(path, ocr=ocr)
    return Read(tuple(split(document)), document.notes)


class Readers:
    """A pool of readers; files are read in the background and their outcomes taken in any order."""

    def __init__(self, reading: ReadSettings) -> None:
        self._reading = reading
        count = max(1, reading.processes)
        self._pool = ThreadPoolExecutor(count) if reading.processes else None
        self._idle: SimpleQueue[_Process] = SimpleQueue()
        self._all = [_Process(reading) for _ in range(count)] if reading.processes else []
        for process in self._all:
            self._idle.put(process)

    def submit(self, path: Path) -> Callable[[], Read]:
        """Begin to read a file; the result returns its passages or raises why there are none."""
        if self._pool is None:
            return lambda: passages_in(path, ocr=self._reading.ocr)
        future: Future[Read] = self._pool.submit(self._take, path)
        return future.result

    def close(self) -> None:
        """End the processes; files that were not read yet are not read."""
        for process in self._all:
            process.stop()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _take(self, path: Path) -> Read:
        process = self._idle.get()
        try:
            return process.read(path)
        finally:
            self._idle.put(process)


class _Process:
    """One process that reads files; it begins with the first, and anew after one that it could not bear."""

    def __init__(self, reading: ReadSettings) -> None:
        self._reading = reading
        self._running: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def read(self, path: Path) -> Read:
        large = max(0, os.path.getsize(path) - _LARGE) / (1 << 20)
        seconds = self._reading.seconds + large * _SECONDS_PER_MB
        late = threading.Event()
        running = self._start()

        def end() -> None:
            late.set()
            running.kill()

        timer = threading.Timer(seconds, end)
        timer.start()
        try:
            outcome = self._exchange(running, path)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            self._end()
            if late.is_set():
                raise DataError(f"{path}: not read within {seconds:.0f} seconds; split it, or leave it out") from None
            raise DataError(f"{path}: its reader crashed; save the file anew, or leave it out") from None
        finally:
            timer.cancel()
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def _exchange(self, running: subprocess.Popen[bytes], path: Path) -> Read | BaseException:
        assert running.stdin
        assert running.stdout
        pickle.dump(path, running.stdin)
        running.stdin.flush()
        outcome: Read | BaseException = pickle.load(running.stdout)  # from our own process
        return outcome

    def _start(self) -> subprocess.Popen[bytes]:
        if self._running is None or self._running.poll() is not None:
            if self._stopped:
                raise DataError("reading was stopped")
            code = f"from rankrag.documents.workers import serve; serve(ocr={self._reading.ocr})"
            pipe = subprocess.PIPE
            self._running = subprocess.Popen(
                [sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, start_new_session=True
            )
        return self._running

    def stop(self) -> None:
        """End the process, and begin no other."""
        self._stopped = True
        self._end()

    def _end(self) -> None:
        running, self._running = self._running, None
        if running is None:
            return
        running.kill()
        running.wait()
        for pipe in (running.stdin, running.stdout):
            if pipe is not None:
                with suppress(OSError):  # what was not written is of no use any more
                    pipe.close()


def serve(*, ocr: bool) -> None:
    """Read the files whose paths come from standard input, until it ends; results go to standard output."""
    with os.fdopen(os.dup(1), "wb") as results:
        os.dup2(2, 1)  # what libraries print must not come between results
        while (path := _next(sys.stdin.buffer)) is not None:
            try:
                outcome: Read | BaseException = passages_in(path, ocr=ocr)
            except BaseException as error:
                outcome = _portable(error)
            pickle.dump(outcome, results)
            results.flush()


def _next(requests: IO[bytes]) -> Path | None:
    try:
        path: Path = pickle.load(requests)
    except EOFError:
        return None
    return path


def _portable(error: BaseException) -> BaseException:
    """Return an error that another process can load."""
    if isinstance(error, OSError):
        return OSError(error.errno, error.strerror)
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return DataError(str(error))
    return error
