"""Quality against cost of judging fewer passages, on dev sets: `python benchmarks/fewer_passes.py RUN --data DATA`.

RUN is a folder of `rankrag evaluate`; its journals are used, and what they lack is asked of the model. For each set and
bound of `--settled-from` measured are the passages judged of a question, recall of the gold passages in the top k, the
share of questions with the exact top k, and exact match of the replies; `--windows N` adds windows of five on the first
N questions. Into docs/backends.md goes a table of a few bounds, and beside it the plot of all. The bounds are only
where the curve is drawn; the one to use is fitted on held-back training questions by `rankrag fit`.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from harness import ROOT, put_figures, svg_pyplot

from rankrag.cli.options import say, step_lines
from rankrag.data.catalogue import BENCHMARKS
from rankrag.data.load import load
from rankrag.data.sets import Judged, TestSet, folder_name
from rankrag.evaluation.first_stage import Ids, first_stages
from rankrag.evaluation.metrics import exact_match, recall_at
from rankrag.evaluation.nearness import NearnessWork
from rankrag.evaluation.selection import Case
from rankrag.evaluation.settling import settled_top, settling_trial, settling_trials
from rankrag.evaluation.work import ModelWork, model_key
from rankrag.fewer_passes import NEVER, rerank_in_windows
from rankrag.models import LanguageModel
from rankrag.models.mini import MINI, resolve_model
from rankrag.opening import open_model, open_nearness
from rankrag.retrieval.encoder import Encoder
from rankrag.types import ScoredPassage

SETS = ("squad", "nq", "hotpotqa", "2wiki", "doc2dial")
PAGE, PLOT = ROOT / "docs" / "backends.md", ROOT / "docs" / "fewer-passes.svg"


@dataclass(frozen=True)
class Point:
    """What a bound (None: all are judged) gives on a set, or windows; `judged` is in calls there."""

    title: str
    bound: float | None
    judged: float
    recall: float
    same: float
    em: float
    windows: int = 0


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
    parser.add_argument("--windows", type=int, default=0, help="questions of a set that are also asked in windows")
    parser.add_argument("--dry", action="store_true", help="print, but leave docs/ alone")
    wanted = parser.parse_args()
    directory = resolve_model(wanted.model, say)
    model = open_model(directory, say=say)
    points: list[Point] = []
    for name in wanted.sets or SETS:
        test_set = load(BENCHMARKS[name], wanted.data)
        points += measured(test_set, model, directory, wanted)
        print("\n".join(table([point for point in points if point.title == test_set.benchmark.title])), flush=True)
    if wanted.dry:
        return
    fitted = model.contract.settled_from
    shown = [near(points, title, fitted) for title in dict.fromkeys(point.title for point in points)]
    command = shlex.join(["python", "benchmarks/fewer_passes.py", *sys.argv[1:]])
    lines = [
        f"`{command}`: hybrid retrieval, N = {wanted.n}, k = {model.contract.depth(wanted.n)}, {wanted.sample} "
        f"questions a set; the fitted bound is {fitted}.",
        "",
        *table([point for rows in shown for point in rows]),
    ]
    put_figures(PAGE, "`python benchmarks/fewer_passes.py`", lines)
    plot(points, fitted)


def measured(test_set: TestSet, model: LanguageModel, directory: str, wanted: argparse.Namespace) -> list[Point]:
    """Return the curve of a set, from judging all to one block, and windows where they are wanted."""
    n, title = wanted.n, test_set.benchmark.title
    k = model.contract.depth(n)
    history = test_set.benchmark.searched_by(model.contract.history_query)
    encoder = Encoder()
    stage = first_stages(test_set, wanted.run, encoder=encoder)["hybrid", history]
    questions = test_set.sample(wanted.sample, wanted.seed)
    folder = wanted.run / folder_name(test_set)
    asked = [(of, stage[of.question.id][:n]) for of in questions]
    points = []
    with step_lines() as step:
        work = ModelWork(model, test_set.passages, folder / model_key(model, directory), title, step)
        judged = work.judgements(asked)
        nearness = open_nearness(model.contract, encoder, say)
        if nearness:
            judged = NearnessWork(nearness, history, test_set.passages, folder, title, step).added(judged, asked)
        cases = [Case(of.gold, (ids,), judged[of.question.id]) for of, ids in asked]
        fitted = model.contract.settled_from
        trials = [*settling_trials(cases, k), *([settling_trial(cases, k, fitted)] if fitted is not None else [])]
        exact_tops: list[Ids] = []
        for trial in trials:
            bound = NEVER if trial.bound is None else trial.bound
            tops = [settled_top(ids, case.judged, k, bound)[1] for case, (_, ids) in zip(cases, asked, strict=True)]
            exact_tops = exact_tops or tops
            em = exact(work, questions, tops)
            points.append(Point(title, trial.bound, trial.judged, trial.recall, trial.same, em))
        if wanted.windows:
            few = questions[: wanted.windows]
            found = [windows(model, test_set, of, stage[of.question.id][:n], k) for of in few]
            recall = fmean(recall_at(ids, of.gold, k) for ids, of in zip(found, few, strict=True))
            same = fmean(set(ids) == set(top) for ids, top in zip(found, exact_tops, strict=False))
            points.append(Point(title, None, -(-n // 5), recall, same, exact(work, few, found), len(few)))
    return points


def exact(work: ModelWork, questions: Sequence[Judged], contexts: Sequence[Ids]) -> float:
    """Return exact match of the replies from these passages."""
    replies = work.replies(list(zip(questions, contexts, strict=True)))
    return fmean(exact_match(reply, of.question.answers) for reply, of in zip(replies, questions, strict=True))


def windows(model: LanguageModel, test_set: TestSet, of: Judged, ids: Ids, k: int) -> Ids:
    """Return the first k passages when five are read at a time."""
    retrieved = tuple(ScoredPassage(test_set.passages[i], -float(r)) for r, i in enumerate(ids))
    return tuple(c.passage.id for c in rerank_in_windows(model, of.question, retrieved)[:k])


def near(points: Sequence[Point], title: str, fitted: float | None) -> list[Point]:
    """Return the lines of a set that the table shows: all judged, the fitted bound, one block, windows."""
    own = [point for point in points if point.title == title]
    bounds = [point for point in own if not point.windows]
    least = min(bounds, key=lambda point: point.judged)
    shown = [bounds[0], *[p for p in bounds if fitted is not None and p.bound == fitted], least, *own[len(bounds) :]]
    return list(dict.fromkeys(shown))


def table(points: Sequence[Point]) -> list[str]:
    """Return the lines of a Markdown table."""
    lines = ["| set | bound | passages judged | R@k | the exact top k | EM |", "|---|---|---|---|---|---|"]
    for point in points:
        bound = (
            f"windows of five, {point.windows} questions"
            if point.windows
            else "all are judged"
            if point.bound is None
            else f"{point.bound}"
        )
        cost = f"{point.judged:.0f} calls" if point.windows else f"{point.judged:.1f}"
        cells = [point.title, bound, cost, f"{point.recall:.3f}", f"{point.same:.2f}", f"{point.em:.3f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def plot(points: Sequence[Point], fitted: float | None) -> None:
    """Draw recall and exact match against the passages judged, a line a set; the fitted bound is a ring."""
    pyplot = svg_pyplot()
    if pyplot is None:
        return
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for place, title in enumerate(dict.fromkeys(point.title for point in points)):
        own = sorted((p for p in points if p.title == title and not p.windows), key=lambda p: p.judged)
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
