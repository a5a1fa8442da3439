"""`--model auto`: the best member of the family that fits into this machine and answers in acceptable time.

What a question takes is measured once (`rankrag models`) and kept in the cache for this machine. Before that it is
estimated, from how fast the machine multiplies matrices. Nothing is kept while other programs run: it would be wrong
for ever.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from contextlib import suppress

from rankrag.cores import others_running
from rankrag.data.files import cache_dir, write_whole
from rankrag.models import memory_size
from rankrag.models.family import AUTO, FAMILY, MINI, base_of, is_trained

ACCEPTABLE_SECONDS = 15.0
"""Longest time for a question with 20 passages, in a process that runs already."""

_READ_TOKENS = 4_000
_WRITTEN_TOKENS = 32
_REACHED = 0.5
"""Share of the speed of one large matrix product that a whole model reaches."""

_SPEEDS = "speeds.json"
_MULTIPLICATIONS, _BYTES = "multiplications a second", "bytes a second"

Say = Callable[[str], None]


def choose(say: Say = lambda _: None) -> str:
    """Return the name of the model to take; the smallest one if no other fits. A member without adapter is no choice.

    `say` gets a line that tells the choice and what a question takes.
    """
    for name in reversed(FAMILY):
        if name == MINI or not is_trained(name):
            continue
        if memory_size.total_bytes() >= memory_here(name) and expected_seconds(name) <= ACCEPTABLE_SECONDS:
            say(f"--model {AUTO}: {name}, about {expected_seconds(name):.0f} s a question here")
            return name
    say(f"--model {AUTO}: {MINI}")
    return MINI


def memory_here(name: str) -> int:
    """Return the memory that a member takes on this machine: weights in float32 need twice as much as in 16 bits."""
    from rankrag.devices import has_bf16

    base = base_of(name).parameters
    return memory_size.needed_bytes(base if has_bf16() else 2 * base)


def measured_seconds(name: str) -> float | None:
    """Return what a question took on this machine; None if it was not measured yet."""
    return _kept().get(name)


def expected_seconds(name: str) -> float:
    """Return what a question takes on this machine, in seconds.

    As measured; else in proportion to the nearest member that was measured; else from how fast the machine multiplies.
    """
    parameters = base_of(name).parameters
    speeds = _kept()
    if known := [(base_of(other).parameters, speeds[other]) for other in FAMILY if other in speeds]:
        nearest, seconds = min(known, key=lambda one: abs(one[0] - parameters))
        return seconds * parameters / nearest
    if _MULTIPLICATIONS not in speeds:
        speeds = _machine_speed()
        if not others_running():
            _keep(speeds)
    reading = parameters * _READ_TOKENS / (speeds[_MULTIPLICATIONS] * _REACHED)
    return reading + _WRITTEN_TOKENS * 2 * parameters / speeds[_BYTES]  # each written token reads all weights


def keep_seconds(name: str, seconds: float) -> None:
    """Keep what a question took on this machine."""
    _keep({name: round(seconds, 2)})


def _machine_speed() -> dict[str, float]:
    import torch

    from rankrag.devices import pick_device, pick_dtype

    device = pick_device("auto")
    rows, inner, columns = 512, 1024, 4096
    left = torch.ones(rows, inner, dtype=pick_dtype("auto", device), device=device)
    right = torch.ones(inner, columns, dtype=left.dtype, device=device)
    best_product = _best(lambda: left @ right)
    # one row against it takes the time to read it: the speed of memory, which writing an answer waits for
    large = torch.ones(inner * 16, columns, dtype=left.dtype, device=device)
    one = torch.ones(1, inner * 16, dtype=left.dtype, device=device)
    best_read = _best(lambda: one @ large)
    return {
        _MULTIPLICATIONS: rows * inner * columns / best_product,
        _BYTES: large.numel() * large.element_size() / best_read,
    }


def _best(product: Callable[[], object]) -> float:
    import torch

    best = float("inf")
    for _ in range(5):
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        started = time.perf_counter()
        product()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return best


def _machine() -> str:
    return f"{platform.node()}, {os.cpu_count()} cores"


def _all_kept() -> dict[str, dict[str, float]]:
    with suppress(OSError, ValueError, AttributeError):
        found = json.loads((cache_dir() / _SPEEDS).read_text("utf-8"))
        return {machine: {k: float(v) for k, v in speeds.items()} for machine, speeds in found.items()}
    return {}


def _kept() -> dict[str, float]:
    return _all_kept().get(_machine(), {})


def _keep(speeds: dict[str, float]) -> None:
    """Add to what is kept; a cache that cannot be written is measured again."""
    found = _all_kept()
    found[_machine()] = found.get(_machine(), {}) | speeds
    with suppress(OSError):
        cache_dir().mkdir(parents=True, exist_ok=True)
        write_whole(cache_dir() / _SPEEDS, json.dumps(found, indent=1) + "\n")
