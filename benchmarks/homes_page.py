"""The tables of `homes.py`: for each home what it costs at each size, and how that grows."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Callable, Iterator

import scale
from harness import put_figures

DATA = scale.ROOT / "docs" / "homes"
PAGE = scale.ROOT / "docs" / "scale.md"
HOMES = {"folder": "A folder", "postgresql": "PostgreSQL", "s3": "A bucket, with a snapshot on this disk"}
Figures = scale.Figures


def write_page() -> None:
    """Put a table for each home that was measured between the page's marks."""
    put_figures(PAGE, "benchmarks/homes.py", list(tables(read_runs())))


def read_runs() -> dict[str, dict[int, Figures]]:
    """Return the figures of all runs, by home and size, smaller ones first."""
    runs = [json.loads(file.read_text(encoding="utf-8")) for file in DATA.glob("*.json")]
    runs.sort(key=lambda run: run["passages"])
    return {home: {run["passages"]: run for run in runs if run["home"] == home} for home in HOMES}


def tables(found: dict[str, dict[int, Figures]]) -> Iterator[str]:
    """Yield the lines of the page."""
    for home, runs in found.items():
        if not runs:
            continue
        sizes = list(runs)
        yield f"**{HOMES[home]}**, on {runs[sizes[-1]]['machine']}:"
        yield ""
        yield "| | " + " | ".join(f"{size:,}" for size in sizes) + " | growth |"
        yield "|---|" + "---|" * (len(sizes) + 1)
        for label, (figure, form) in ROWS.items():
            values = {size: figure(run) for size, run in runs.items()}
            if any(value is not None for value in values.values()):
                cells = ("-" if value is None else form.format(value) for value in values.values())
                yield f"| {label} | " + " | ".join(cells) + f" | {growth(values)} |"
        loads = ", ".join(f"{run['build']['load']:.0f}" for run in runs.values())
        yield ""
        yield from textwrap.wrap(f"Load of the machine while it was built: {loads}.", 120)
        yield ""


def growth(values: dict[int, float | None]) -> str:
    """Return x where a figure grows as passages ^ x, from the two largest sizes; "-" with fewer."""
    known = [(size, value) for size, value in values.items() if value]
    if len(known) < 2:
        return "-"
    (small, before), (large, after) = known[-2:]
    return f"n^{math.log(after / before) / math.log(large / small):.2f}"


def of(step: str, *names: str) -> Callable[[Figures], float | None]:
    """Return what reads the sum of some figures of a step; `None` where the step was not done."""

    def read(run: Figures) -> float | None:
        return sum(run[step].get(name, 0.0) for name in names) if step in run else None

    return read


def a_query(step: str) -> Callable[[Figures], float | None]:
    """Return what reads the CPU milliseconds of a query, the server's with it."""

    def read(run: Figures) -> float | None:
        if step not in run:
            return None
        asked = run[step]["queries"] + scale.WARM_UP
        server = run[step]["server_cpu_s"] if run["home"] == "postgresql" else 0.0  # else it only sent the snapshot
        return float(run[step]["cpu_ms"] + 1000 * server / asked)

    return read


ROWS: dict[str, tuple[Callable[[Figures], float | None], str]] = {
    "build, s": (of("build", "wall_s"), "{:,.0f}"),
    "build, CPU s": (of("build", "cpu_s", "server_cpu_s"), "{:,.0f}"),
    "build, peak MiB": (of("build", "peak_mib"), "{:,.0f}"),
    "build, peak MiB of the server": (lambda run: run["build"].get("server_peak_mib"), "{:,.0f}"),
    "disk, MiB": (of("build", "mib"), "{:,.0f}"),
    "open, s": (lambda run: run["bm25"]["open"]["wall_s"] if "bm25" in run else None, "{:.2f}"),
    "BM25, p50 ms": (of("bm25", "median_ms"), "{:.1f}"),
    "BM25, p99 ms": (of("bm25", "p99_ms"), "{:.1f}"),
    "BM25, CPU ms of a query": (a_query("bm25"), "{:.1f}"),
    "BM25, peak MiB": (of("bm25", "peak_mib"), "{:,.0f}"),
    "add and index vectors, s": (of("vectors", "wall_s"), "{:,.0f}"),
    "add and index vectors, CPU s": (of("vectors", "cpu_s", "server_cpu_s"), "{:,.0f}"),
    "disk with vectors, MiB": (of("vectors", "mib"), "{:,.0f}"),
    "hybrid, p50 ms": (of("hybrid", "median_ms"), "{:.1f}"),
    "hybrid, p99 ms": (of("hybrid", "p99_ms"), "{:.1f}"),
    "hybrid, CPU ms of a query": (a_query("hybrid"), "{:.1f}"),
    "hybrid, peak MiB": (of("hybrid", "peak_mib"), "{:,.0f}"),
    "add a document and refresh, s": (of("change", "wall_s"), "{:.1f}"),
    "see it on another machine, s": (
        lambda run: run["change"]["move"]["wall_s"] if "change" in run else None,
        "{:.2f}",
    ),
}
