"""What a process and all its children cost: seconds of CPU, and the peak of the memory that only they use."""

from __future__ import annotations

from contextlib import suppress
from threading import Event, Thread
from types import TracebackType

import psutil


class Watched:
    """Processes that are watched while a block runs.

    `cpu_s` is what they took in it, also those that ended and were waited for; `peak_mib` is the largest sum of their
    proportional memory (PSS), looked at four times a second: pages that they share count once.
    """

    def __init__(self, pid: int) -> None:
        self.cpu_s = self.peak_mib = 0.0
        self._root = psutil.Process(pid)
        self._done = Event()
        self._thread = Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watched:
        self._before = self._cpu()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()
        with suppress(psutil.NoSuchProcess):
            self.cpu_s = self._cpu() - self._before

    def _all(self) -> list[psutil.Process]:
        return [self._root, *self._root.children(recursive=True)]

    def _cpu(self) -> float:
        total = 0.0
        for process in self._all():
            with suppress(psutil.NoSuchProcess):
                total += sum(process.cpu_times()[:4])  # user and system, its own and of children that ended
        return total

    def _look(self) -> None:
        while not self._done.wait(0.25):
            with suppress(psutil.NoSuchProcess):
                self.peak_mib = max(self.peak_mib, sum(map(_pss, self._all())))


def _pss(process: psutil.Process) -> float:
    try:
        return float(process.memory_full_info().pss) / 2**20
    except psutil.NoSuchProcess:
        return 0.0
