"""How many threads a forward pass on a CPU takes: all, or as many as other programs leave.

The threads of a pass wait for each other at every layer, and they wait by spinning. While another program holds a core,
each wait lasts until the system gives it back: two processes that each use both cores of a machine take ten times as
long, not twice (docs/performance.md). With a thread for each free core nobody waits. Alone, a pass uses all threads and
spins as before, which is the fastest.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

_LOAD = Path("/proc/loadavg")
_OWN_THREADS = Path("/proc/self/task")
_AGAIN_SECONDS = 0.001


class _Cores:
    """Torch's number of threads at the first pass; one that the user has set is never changed."""

    def __init__(self) -> None:
        import torch

        self.all = torch.get_num_threads()
        self.fixed = "OMP_NUM_THREADS" in os.environ or self.all == 1


_cores: list[_Cores] = []


def share_cores(device: torch.device) -> None:
    """Before a pass on a CPU, set torch's threads to the free cores, but at least to half of all: others share too."""
    if device.type != "cpu":
        return
    if not _cores:
        _cores.append(_Cores())
    found = _cores[0]
    if not found.fixed:
        import torch

        wanted = threads_for(others_running(), os.cpu_count() or 1, found.all)
        if wanted != torch.get_num_threads():
            torch.set_num_threads(wanted)


def threads_for(others: int, cores: int, most: int) -> int:
    """Return how many threads to use beside `others`, of at most `most`, on a machine with so many cores."""
    return max(min(cores - others, most), (most + 1) // 2)


def others_running() -> int:
    """Return how many threads of other programs run or want to run; 0 if this system does not say.

    What runs only for a moment does not count: it is looked at twice.
    """
    first = _others()
    if not first:
        return 0
    time.sleep(_AGAIN_SECONDS)
    return min(first, _others())


def _others() -> int:
    with suppress(OSError, ValueError, IndexError):
        running = int(_LOAD.read_text().split()[3].partition("/")[0])
        # this thread runs; looking for others of ours, which may still spin, takes longer than asking how many run
        return max(0, running - _own()) if running > 1 else 0
    return 0


def _own() -> int:
    found = 0
    for thread in _OWN_THREADS.iterdir():
        with suppress(OSError):  # one that has ended since
            # the state comes after the name, which may hold spaces and brackets
            found += (thread / "stat").read_text().rpartition(")")[2].split()[0] == "R"
    return max(1, found)
