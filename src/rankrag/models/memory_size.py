"""How much memory this machine has, and how much a model of the family needs."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_BESIDE = 1_200_000_000
"""Bytes beside the weights: Python, torch, the encoder, an index, one batch."""

BYTES_EACH = 3
"""Bytes for a weight, on disk and in memory: in 16 bits, and once more in 8 (`models.short_weights`)."""

_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def total_bytes() -> int:
    """Return the memory of this machine, or of the container it runs in if that has less."""
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in _CGROUP_LIMITS:
        with suppress(OSError, ValueError):
            found = min(found, int(Path(path).read_text()))  # "max" is no number: no limit
    return found


def needed_bytes(parameters: int, bytes_each: int = BYTES_EACH) -> int:
    """Return the memory that preparing or running a model takes."""
    return bytes_each * parameters + _BESIDE
