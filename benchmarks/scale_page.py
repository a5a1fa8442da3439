"""The page, the plot and the plan from the figures of `scale.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

DOCS = Path(__file__).parents[1] / "docs"
PAGE, PLOT = DOCS / "scale.md", DOCS / "scale.svg"
BEGIN, END = "<!-- figures: made by benchmarks/scale.py -->", "<!-- end of figures -->"
PART = 20_000
"""Passages of one commit, as `rankrag index` makes them of a large file of rows."""

PLANNED = {"Wikipedia of December 2018": 21_000_000, "MedCorp": 54_000_000, "a hundred million": 100_000_000}
ENOUGH = 1_000_000
"""Passages that must have been measured before the plan is made: from fewer it would be a guess."""

DIMS = {"384 dimensions (all-MiniLM-L6-v2)": 384, "768 (Dragon, MedCPT)": 768}

Figures = dict[str, Any]


def write_page(found: dict[str, Figures]) -> None:
    """Put the tables and the plan between the page's marks, and draw the plot."""
    versions = ", ".join(f"{name} {number}" for name, number in found["versions"].items())
    lines = [f"On {found['machine']}; {versions}.", "", *bm25_table(found), "", *exact_table(found)]
    lines += ["", *change_lines(found["change"])] if "change" in found else []
    lines += ["", *dense_table(found)] if measured_sizes(found, "dense") else []
    lines += ["", *flat_table(found)] if measured_sizes(found, "flat") else []
    lines += ["", *plan(found)] if measured_sizes(found, "search")[-1] >= ENOUGH else []
    lines += ["", "Passages by package: " + packages(found["gather"]["packages"])]
    page = PAGE.read_text(encoding="utf-8")
    before, after = page.partition(BEGIN)[0], page.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n\n" + "\n".join(lines) + f"\n\n{END}{after}", encoding="utf-8")
    plot(found)


def bm25_table(found: dict[str, Figures]) -> list[str]:
    header = "passages | text MiB | build, s | CPU s | peak MiB | disk MiB, an hour later "
    header += "| query ms, median (CPU) | p95 (CPU) | the first | 20 passages, median | held MiB"

    def cells(size: int) -> str:
        made, asked_ = found[f"build-{size}"], found[f"search-{size}"]
        return (
            f"{made['text_mib']:,} | {made['wall_s']:,.0f} | {made['cpu_s']:,.0f} "
            f"| {made['peak_mib']:,.0f} | {made['disk_mib']:,.0f}, {made['disk_later_mib']:,.0f} | {times(asked_)} "
            f"| {asked_['first_ms']:.0f} | {asked_['of_20']['median_ms']:.1f} | {asked_['rss_mib']:,.0f}"
        )

    return by_size(header, measured_sizes(found, "search"), cells)


def exact_table(found: dict[str, Figures]) -> list[str]:
    header = "passages | bm25s: build, s | CPU s | peak MiB | query ms, median (CPU) | p95 (CPU) | held MiB "
    header += "| overlap@10, least | overlap@100, least | scores differ by"

    def cells(size: int) -> str:
        made = found[f"exact-{size}"]
        return (
            f"{made['wall_s']:,.0f} | {made['cpu_s']:,.0f} | {made['peak_mib']:,.0f} "
            f"| {times(made['search'])} | {made['search']['rss_mib']:,.0f} "
            f"| {made['overlap_10']:.3f}, {made['overlap_10_least']:.2f} "
            f"| {made['overlap_100']:.3f}, {made['overlap_100_least']:.2f} | {made['score_gap']:.0e}"
        )

    return by_size(header, measured_sizes(found, "exact"), cells)


def change_lines(made: Figures) -> list[str]:
    add, delete = made["add"], made["delete"]
    return [
        f"**Changes.** Adding {made['added']:,} passages to {made['before']:,}: {add['wall_s']:.1f} s "
        f"({add['cpu_s']:.1f} CPU s). Of {made['asked']} sentences of theirs, one of them was among the first 10 for "
        f"{made['new_in_first_10_before']} before and for {made['new_in_first_10_after']} after. Deleting a source of "
        f"{made['deleted']:,}: {delete['wall_s']:.1f} s ({delete['cpu_s']:.1f} CPU s). Of {made['asked_of_deleted']} "
        f"sentences of its passages, one was among the first 10 for {made['deleted_in_first_10_before']} before and "
        f"for {made['deleted_in_first_10_after']} after. Peak {made['peak_mib']:,.0f} MiB; a query takes "
        f"{made['search']['median_ms']:.1f} ms (median) afterwards."
    ]


def dense_table(found: dict[str, Figures]) -> list[str]:
    header = "synthetic vectors | filled, CPU s | index made, s | CPU s | peak MiB | disk MiB | opened, s "
    header += "| query ms, median (CPU) | p95 (CPU) | held MiB | recall@100, least"

    def cells(size: int) -> str:
        made, asked_ = found[f"vectors-{size}"], found[f"dense-{size}"]
        return (
            f"{made['fill']['cpu_s']:,.0f} | {made['refresh']['wall_s']:,.0f} "
            f"| {made['refresh']['cpu_s']:,.0f} | {made['peak_mib']:,.0f} | {made['disk_mib']:,.0f} "
            f"| {asked_['open']['wall_s']:.1f} | {times(asked_)} | {asked_['rss_mib']:,.0f} "
            f"| {asked_['recall_100']:.3f}, {asked_['recall_100_least']:.2f}"
        )

    return by_size(header, measured_sizes(found, "dense"), cells)


def flat_table(found: dict[str, Figures]) -> list[str]:
    header = "synthetic vectors | faiss IndexFlatIP, exact: query ms, median (CPU) | p95 (CPU) | held MiB"

    def cells(size: int) -> str:
        made = found[f"flat-{size}"]
        return f"{times(made)} | {made['rss_mib']:,.0f}"

    return by_size(header, measured_sizes(found, "flat"), cells)


def by_size(header: str, sizes: Sequence[int], cells: Callable[[int], str]) -> list[str]:
    """Return a table with a row for each size."""
    rule = "|" + "---|" * len(header.split(" | "))
    return [f"| {header} |", rule, *(f"| {size:,} | {cells(size)} |" for size in sizes)]


def plan(found: dict[str, Figures]) -> list[str]:
    """Return the plan for larger corpora, from the figures of the two largest sizes."""
    smaller, largest = measured_sizes(found, "search")[-2:]
    made, before = found[f"build-{largest}"], found[f"build-{smaller}"]
    scans = made["scan"]["cpu_s"] / largest  # CPU seconds for a passage that is there, at each commit
    own = (made["cpu_s"] - scans * largest**2 / (2 * PART)) / largest
    slope = (made["peak_mib"] - before["peak_mib"]) / (largest - smaller)
    power = np.log(found[f"search-{largest}"]["cpu_ms"] / found[f"search-{smaller}"]["cpu_ms"]) / np.log(
        largest / smaller
    )
    lines = [
        "| plan | disk GiB | while building | CPU h | of it scans | peak GiB | query CPU ms "
        + "".join(f"| vectors GiB, {name} " for name in DIMS)
        + "|",
        "|---|---|---|---|---|---|---|" + "---|" * len(DIMS),
    ]
    for name, n in PLANNED.items():
        reading, commits = own * n / 3600, scans * n**2 / (2 * PART) / 3600
        lines.append(
            f"| {name}, {n / 1e6:.0f}M | {made['disk_later_mib'] * n / largest / 1024:.0f} "
            f"| {made['disk_mib'] * n / largest / 1024:.0f} | {reading + commits:.1f} | {commits:.1f} "
            f"| {(made['peak_mib'] + slope * (n - largest)) / 1024:.0f} "
            f"| {found[f'search-{largest}']['cpu_ms'] * (n / largest) ** power:.0f} "
            + "".join(f"| {n * dim * 4 / 2**30:.0f} " for dim in DIMS.values())
            + "|"
        )
    formulas = [
        "",
        "For n passages of the length of ours:",
        "",
        f"- disk, also while building: that of {largest:,} · n / {largest:,}",
        f"- CPU seconds of the build: {own * 1e6:.0f} µs · n + {scans * 1e9:.0f} ns · n² / (2 · {PART:,}), the second "
        f"because every commit of {PART:,} passages reads the ids of those that are there",
        f"- peak of the build: that of {largest:,} + {slope * 1024:.2f} KiB · (n − {largest:,}), as from {smaller:,}",
        f"- CPU of a query: that of {largest:,} · (n / {largest:,})^{power:.2f}, the exponent from {smaller:,}",
        "- vectors: dimensions · 4 bytes · n; their index holds another byte for each dimension",
    ]
    return lines + formulas


def packages(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in counts.items()) + "."


def times(asked_: Figures) -> str:
    return f"{asked_['median_ms']:.1f} ({asked_['cpu_ms']:.1f}) | {asked_['p95_ms']:.1f} ({asked_['cpu_p95_ms']:.1f})"


def measured_sizes(found: dict[str, Figures], step: str) -> list[int]:
    """Return the sizes for which a step was done, smallest first."""
    return sorted(int(name.partition("-")[2]) for name in found if name.startswith(f"{step}-"))


def plot(found: dict[str, Figures]) -> None:
    """Draw query time and memory by size."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "rankrag"
    from matplotlib import pyplot

    figure, (time_axis, memory_axis) = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for step, label, colour in (
        ("search", "rankrag", "#4477aa"),
        ("exact", "bm25s", "#cc6677"),
        ("dense", "dense", "#999933"),
        ("flat", "faiss flat", "#aa3377"),
    ):
        sizes = measured_sizes(found, step)
        if not sizes:
            continue
        asked_ = [found[f"{step}-{size}"].get("search", found[f"{step}-{size}"]) for size in sizes]
        time_axis.plot(sizes, [one["cpu_ms"] for one in asked_], "o-", color=colour, label=label)
        memory_axis.plot(sizes, [one["rss_mib"] for one in asked_], "o-", color=colour, label=f"{label}, searching")
        if step in ("search", "exact"):
            built = [found[f"{'build' if step == 'search' else step}-{size}"]["peak_mib"] for size in sizes]
            memory_axis.plot(sizes, built, "o:", color=colour, label=f"{label}, building")
    for axis, title in ((time_axis, "CPU ms of a query, median"), (memory_axis, "MiB of the process")):
        axis.set(xscale="log", yscale="log", title=title, xlabel="passages")
        axis.legend(fontsize=7)
    figure.savefig(PLOT, metadata={"Date": None})
