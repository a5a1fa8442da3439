"""`--model auto`: the best member of the family that fits into this machine and answers in acceptable time.

What a question takes is measured once (`rankrag models`) and kept in the cache for this machine. Before that it is
estimated: it grows with a model's parameters and falls with the number of cores.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable
from contextlib import suppress

from rankrag.data.files import cache_dir, write_whole
from rankrag.models import memory_size
from rankrag.models.family import AUTO, FAMILY, MINI, base_of, is_trained

ACCEPTABLE_SECONDS = 15.0
"""Longest time for a question, in a process that runs already."""

JUDGED = 10
"""Passages of 20 that are judged until one settles a question: 8.0 by rankrag-mini, 10.9 by small, 9.6 by base."""

_CORE_SECONDS = 2.3e-8
"""Seconds of one core for a parameter, in bfloat16: rankrag-small took 5.7 s on two cores, rankrag-base 17.8 s."""

_GPU_SECONDS = 1e-9
"""The same for a GPU, and far above what any takes that holds the model."""

_SPEEDS = "seconds.json"

Say = Callable[[str], None]


def choose(say: Say = lambda _: None) -> str:
    """Return the name of the model to take; the smallest one if no other fits. A member without adapter is no choice.

    `say` gets a line that tells the choice, what a question takes, and what a larger one that is too slow would take.
    """
    fitting = [n for n in FAMILY if is_trained(n) and memory_size.total_bytes() >= memory_here(n)] or [MINI]
    seconds = {name: expected_seconds(name) for name in {MINI, *fitting}}
    chosen = next((name for name in reversed(fitting) if seconds[name] <= ACCEPTABLE_SECONDS), MINI)
    slower = f"; {fitting[-1]} is larger and takes about {seconds[fitting[-1]]:.0f} s"
    say(f"--model {AUTO}: {chosen}, about {seconds[chosen]:.0f} s a question here{slower * (chosen != fitting[-1])}")
    return chosen


def memory_here(name: str) -> int:
    """Return the memory that a member takes on this machine: weights in float32 need 4 bytes each."""
    from rankrag.devices import has_bf16

    return memory_size.needed_bytes(base_of(name).parameters, memory_size.BYTES_EACH if has_bf16() else 4)


def measured_seconds(name: str) -> float | None:
    """Return what a question took on this machine; None if it was not measured yet."""
    return _kept().get(name)


def expected_seconds(name: str) -> float:
    """Return what a question takes on this machine, in seconds.

    As measured; else in proportion to the nearest member that was measured; else by the number of cores.
    """
    parameters, kept = base_of(name).parameters, _kept()
    if known := [(base_of(other).parameters, kept[other]) for other in FAMILY if other in kept]:
        nearest, seconds = min(known, key=lambda one: abs(one[0] - parameters))
        return seconds * parameters / nearest
    from rankrag.devices import has_bf16, pick_device

    if pick_device("auto").type != "cpu":
        return parameters * _GPU_SECONDS
    return parameters * _CORE_SECONDS * (1 if has_bf16() else 2) / (os.cpu_count() or 1)


def keep_seconds(name: str, seconds: float) -> None:
    """Keep what a question took on this machine."""
    _keep({name: round(seconds, 2)})


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
