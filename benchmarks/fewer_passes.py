"""Quality against cost of judging fewer passages, on dev sets: `python benchmarks/fewer_passes.py RUN --data DATA`.

RUN is a folder of `rankrag evaluate`; its journals are used, and the model is asked for what they lack. Each bound of
`settled_from` is a system of the evaluation. Its figures are the passages judged per question, the share of the gold
passages that are read, the share of questions that read the same passages as without a bound, and exact match. A table
of a few bounds goes into docs/backends.md, with a plot of all of them. These bounds only draw the curve; the one to use
is fitted on held-out training questions by `rankrag fit`.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import ROOT, put_figures, svg_pyplot

from rankrag.cli.options import say, step_lines
from rankrag.data.catalogue import BENCHMARKS
from rankrag.evaluation.aggregate import Evaluation
from rankrag.evaluation.parts import Openers
from rankrag.evaluation.run import Settings, evaluate
from rankrag.evaluation.systems import System
from rankrag.models.family import MINI
from rankrag.models.prepared import resolve_model
from rankrag.opening import open_model

SETS = ("squad", "nq", "hotpotqa", "2wiki", "doc2dial")
BOUNDS = tuple(step / 2 for step in range(14, -9, -1))
"""Log-odds from 7 to -4."""

PAGE, PLOT = ROOT / "docs" / "backends.md", ROOT / "docs" / "fewer-passes.svg"


@dataclass(frozen=True)
class Point:
    """What a bound (None: all are judged) gives on a set."""

    title: str
    bound: float | None
    judged: float
    recall: float
    same: float
    em: float


def main() -> None:
    """Measure, print, and write the page's figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="run folder of `rankrag evaluate`")
    parser.add_argument("--data", type=Path, default=os.environ.get("RANKRAG_DATA"), help="folder of the data sets")
    parser.add_argument("--set", action="append", dest="sets", choices=sorted(BENCHMARKS), help="may be given often")
    parser.add_argument("--model", default=MINI)
    parser.add_argument("--n", type=int, default=20)
    parser.add_argument("--sample", type=int, default=300, help="questions of a set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--dry", action="store_true", help="print, but leave docs/ alone")
    wanted = parser.parse_args()
    directory = resolve_model(wanted.model, say)
    model = open_model(directory, say=say)
    fitted = model.contract.settled_from
    bounds = sorted({*BOUNDS, *([fitted] if fitted is not None else [])}, reverse=True)
    full = System(name="all judged", model=wanted.model, n=wanted.n, abstain=False, settled_from=None)
    systems = [full, *(full.changed(name=f"{bound:g}", settled_from=bound, role="stopping") for bound in bounds)]
    openers, settings = Openers(lambda _: (model, directory)), Settings(wanted.sample, wanted.seed)
    with step_lines() as step:
        found = evaluate(
            wanted.data, wanted.run, systems, openers, settings, sets=wanted.sets or SETS, progress=step, say=say
        )
    points = points_of(found)
    print("\n".join(table(points)))
    if wanted.dry:
        return
    shown = [near(points, title, fitted) for title in dict.fromkeys(point.title for point in points)]
    command = shlex.join(["python", "benchmarks/fewer_passes.py", *sys.argv[1:]])
    lines = [
        f"`{command}`: hybrid retrieval, N = {wanted.n}, k = {min(wanted.n, model.contract.k)}, {wanted.sample} "
        f"questions a set; the fitted bound is {fitted}.",
        "",
        *table([point for rows in shown for point in rows]),
    ]
    put_figures(PAGE, "`python benchmarks/fewer_passes.py`", lines)
    plot(points, fitted)


def points_of(found: Evaluation) -> list[Point]:
    """Return the curve of each set, from judging all to the lowest bound."""
    return [
        Point(
            figures.of_set.title,
            figures.system.settled_from,
            figures.figures["judged"].mean,
            figures.figures["gold read"].mean,
            1.0 if figures.same_contexts is None else figures.same_contexts,
            figures.figures["EM"].mean,
        )
        for figures in found.all("compared", "stopping")
    ]


def near(points: Sequence[Point], title: str, fitted: float | None) -> list[Point]:
    """Return the lines of a set that the table shows: all judged, the fitted bound, and one block."""
    own = [point for point in points if point.title == title]
    least = min(own, key=lambda point: point.judged)
    shown = [own[0], *[p for p in own if fitted is not None and p.bound == fitted], least]
    return list(dict.fromkeys(shown))


def table(points: Sequence[Point]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = ["| set | bound | passages judged | R@k | the exact top k | EM |", "|---|---|---|---|---|---|"]
    for point in points:
        bound = "all are judged" if point.bound is None else f"{point.bound}"
        cells = [
            point.title,
            bound,
            f"{point.judged:.1f}",
            f"{point.recall:.3f}",
            f"{point.same:.2f}",
            f"{point.em:.3f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def plot(points: Sequence[Point], fitted: float | None) -> None:
    """Draw recall and exact match against the passages judged, a line a set; the fitted bound is a ring."""
    pyplot = svg_pyplot()
    if pyplot is None:
        return
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for place, title in enumerate(dict.fromkeys(point.title for point in points)):
        own = sorted((p for p in points if p.title == title), key=lambda p: p.judged)
        for axis, name in zip(axes, ("recall", "em"), strict=True):
            axis.plot([p.judged for p in own], [getattr(p, name) for p in own], color=f"C{place}", label=title)
            ringed = [p for p in own if p.bound == fitted]
            axis.plot(
                [p.judged for p in ringed], [getattr(p, name) for p in ringed], "o", color=f"C{place}", mfc="none"
            )
    for axis, name in zip(axes, ("R@k", "exact match"), strict=True):
        axis.set_xlabel("passages judged of a question")
        axis.set_ylabel(name)
        axis.set_ylim(bottom=0)
    axes[0].legend(fontsize=8)
    figure.savefig(PLOT, metadata={"Date": None})


if __name__ == "__main__":
    main()
