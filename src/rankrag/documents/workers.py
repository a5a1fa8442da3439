"""Readers in processes of their own: a file that hangs or crashes a reader costs only itself."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

from rankrag.documents.chunking import split
from rankrag.documents.document import Note
from rankrag.documents.readers import read_document
from rankrag.errors import DataError
from rankrag.types import Passage

_LARGE = 10 << 20  # bytes; larger files get more time
_SECONDS_PER_MB = 2


@dataclass(frozen=True, slots=True)
class Read:
    """The passages of a file and what should be said about it."""

    passages: tuple[Passage, ...]
    notes: tuple[Note, ...]


FileReader = Callable[[Path], Read]
"""Returns what is in a file that holds no rows, or raises why nothing is; several threads may call it at once."""


@dataclass(frozen=True, slots=True)
class ReadSettings:
    """How files are read.

    `processes` readers work at once, each for at most `seconds` on a file; 0 reads in this process, without a limit.
    `elsewhere` reads the files in their place, on the nodes of a cluster.
    """

    ocr: bool = False
    processes: int = 0
    seconds: float = 60.0
    elsewhere: FileReader | None = None

    @contextmanager
    def reader(self) -> Iterator[FileReader]:
        """Yield what reads files; afterwards its processes are ended, whatever they do."""
        if self.elsewhere or not self.processes:
            yield self.elsewhere or partial(passages_in, ocr=self.ocr)
            return
        readers = Readers(self)
        try:
            yield readers
        finally:
            readers.close()


HERE = ReadSettings()
"""Files are read in this process, one after the other."""


def passages_in(path: Path, *, ocr: bool) -> Read:
    """Return the passages of a file that holds no rows."""
    document = read_document(path, ocr=ocr)
    return Read(tuple(split(document)), document.notes)


class Readers:
    """Reads files in processes, one for each thread that calls it."""

    def __init__(self, reading: ReadSettings) -> None:
        self._reading = reading
        self._own = threading.local()
        self._all: list[_Process] = []

    def __call__(self, path: Path) -> Read:
        """Return the passages of a file, or raise why there are none."""
        if not hasattr(self._own, "process"):
            self._own.process = _Process(self._reading)
            self._all.append(self._own.process)
        read: Read = self._own.process.read(path)
        return read

    def close(self) -> None:
        """End the processes; what they are reading, and what is asked for later, raises `DataError`."""
        for process in self._all:
            process.stop()


class _Process:
    """One process that reads files; it begins with the first, and anew after one that it could not bear."""

    def __init__(self, reading: ReadSettings) -> None:
        self._reading = reading
        self._running: tuple[SpawnProcess, Connection] | None = None
        self._stopped = False

    def read(self, path: Path) -> Read:
        large = max(0, os.path.getsize(path) - _LARGE) / (1 << 20)
        seconds = self._reading.seconds + large * _SECONDS_PER_MB
        process, pipe = self._running = self._running or self._start()
        try:
            pipe.send(path)
            if pipe.poll(seconds):  # also when the process has ended, and then there is nothing to receive
                outcome: Read | Exception = pipe.recv()
            else:
                outcome = DataError(f"{path}: not read within {seconds:.0f} seconds; split it, or leave it out")
                self._end(process)
        except (EOFError, OSError, pickle.UnpicklingError):
            self._end(process)
            raise DataError(f"{path}: its reader crashed; save the file anew, or leave it out") from None
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def stop(self) -> None:
        """End the process, and begin no other."""
        self._stopped = True
        if self._running:
            self._running[0].kill()

    def _start(self) -> tuple[SpawnProcess, Connection]:
        if self._stopped:
            raise DataError("reading was stopped")
        # a process that is spawned, not forked: it inherits neither locks nor threads of this one
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._reading.ocr), daemon=True)
        process.start()
        theirs.close()  # so that the pipe ends with the process
        return process, ours

    def _end(self, process: SpawnProcess) -> None:
        self._running = None
        process.kill()
        process.join()


def _serve(pipe: Connection, ocr: bool) -> None:
    """Answer paths that come through the pipe with what is in the files, until it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; it is for the first process to act
    silence = os.open(os.devnull, os.O_WRONLY)
    for output in (1, 2):  # libraries print what they think of a file
        os.dup2(silence, output)
    while True:
        try:
            path: Path = pipe.recv()
        except EOFError:
            return
        try:
            outcome: Read | Exception = passages_in(path, ocr=ocr)
        except Exception as error:
            outcome = error
        pipe.send(outcome)
