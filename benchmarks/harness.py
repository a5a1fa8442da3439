"""Shared by the benchmarks: the clock, memory, the machine and its own speed, and writing figures into a page."""

from __future__ import annotations

import ctypes
import platform
import statistics
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[1]


def put_figures(page: Path, made_by: str, lines: Sequence[str]) -> None:
    """Put lines between a page's two marks: the one that names their maker and the end mark."""
    begin, end = f"<!-- figures: made by {made_by} -->", "<!-- end of figures -->"
    before, found, rest = page.read_text(encoding="utf-8").partition(begin)
    after = rest.partition(end)[2]
    if not found:
        raise SystemExit(f"{page}: no line {begin}")
    page.write_text(f"{before}{begin}\n\n" + "\n".join(lines) + f"\n\n{end}{after}", encoding="utf-8")


def svg_pyplot() -> Any:
    """Return pyplot, set to write the same SVG every time; without matplotlib, say so and return None."""
    try:
        import matplotlib
    except ImportError:
        print('no plot: pip install "rankrag[bench]" brings matplotlib')
        return None
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "rankrag"
    from matplotlib import pyplot

    return pyplot


def machine() -> str:
    """Return processor and threads."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"


def versions(*names: str) -> dict[str, str]:
    """Return the version of each package that is installed."""
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def now(device: str = "cpu") -> float:
    """Return the time in seconds after the device has finished its work."""
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter()


def forget_peak(device: str = "cpu") -> float:
    """Release freed memory, reset the peak of this process or the GPU to what is held, and return that in MiB."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS")


def peak(device: str = "cpu") -> float:
    """Return the peak since `forget_peak`, in MiB."""
    return torch.cuda.max_memory_allocated() / 2**20 if device != "cpu" else status("VmHWM")


def status(name: str) -> float:
    """Return "VmRSS", the memory of this process, or "VmHWM", its peak, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":")) / 1024


def gemm_rate(hidden: int, inner: int, device: str = "cpu") -> float:
    """Return the floating-point operations per second of the model's largest matrix product, best of several.

    On a GPU it is in bfloat16 with 16,384 rows, ten at a time.
    """
    gpu = device != "cpu"
    rows, at_once, dtype = (16384, 10, torch.bfloat16) if gpu else (1024, 1, torch.float32)
    left = torch.randn(rows, hidden, device=device, dtype=dtype)
    right = torch.randn(hidden, inner, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(30 // at_once):
        began = now(device)
        for _ in range(at_once):
            left @ right
        best = min(best, now(device) - began)
    return 2 * rows * hidden * inner * at_once / best


def spread(ratios: list[float]) -> str:
    """Return the median of ratios and their range; "-" without ratios."""
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})" if ratios else "-"
