"""Quality against cost of judging fewer passages, on dev sets: `python benchmarks/fewer_passes.py RUN --data DATA`.

RUN is a folder of `rankrag evaluate`; its journals are used, and the model is asked for what they lack. For each set
and each bound of `--settled-from` it measures the passages judged per question, recall of the gold passages in the top
k, the share of questions with the exact top k, and exact match of the replies. A table of a few bounds goes into
docs/backends.md, with a plot of all of them. These bounds only draw the curve; the one to use is fitted on held-out
training questions by `rankrag fit`.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from harness import ROOT, put_figures, svg_pyplot

from rankrag.cli.options import say, step_lines
from rankrag.data.catalogue import BENCHMARKS
from rankrag.data.load import load
from rankrag.data.sets import Judged, TestSet, folder_name
from rankrag.evaluation.first_stage import Ids, first_stages
from rankrag.evaluation.metrics import exact_match
from rankrag.evaluation.nearness import NearnessWork
from rankrag.evaluation.work import ModelWork, model_key
from rankrag.fitting.selection import Case
from rankrag.fitting.settling import settled_top, settling_trial, settling_trials
from rankrag.models import LanguageModel
from rankrag.models.family import MINI
from rankrag.models.prepared import resolve_model
from rankrag.opening import open_model, open_nearness
from rankrag.rerank import NEVER
from rankrag.retrieval.encoder import Encoder
from rankrag.types import Ranking, ScoredPassage

SETS = ("squad", "nq", "hotpotqa", "2wiki", "doc2dial")
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
    """Return the curve of a set, from judging all to one block."""
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
        cases = [Case(of, (ranking(test_set, ids),), judged[of.question.id]) for of, ids in asked]
        contract = replace(model.contract, similarity_weight=0.0)  # the cosines are in the judgements already
        fitted = model.contract.settled_from
        trials = list(settling_trials(cases, contract, k))
        if fitted is not None:
            trials.append(settling_trial(cases, contract, k, fitted))
        for trial in trials:
            bound = NEVER if trial.bound is None else trial.bound
            tops = [settled_top(case, case.first_stages[0], contract, k, bound)[1] for case in cases]
            em = exact(work, questions, tops)
            points.append(Point(title, trial.bound, trial.judged, trial.recall, trial.same, em))
    return points


def exact(work: ModelWork, questions: Sequence[Judged], contexts: Sequence[Ids]) -> float:
    """Return exact match of the replies from these passages."""
    replies = work.replies(list(zip(questions, contexts, strict=True)))
    return fmean(exact_match(reply, of.question.answers) for reply, of in zip(replies, questions, strict=True))


def ranking(test_set: TestSet, ids: Ids) -> Ranking:
    """Return the passages with these ids, in their order."""
    return tuple(ScoredPassage(test_set.passages[i], -float(rank)) for rank, i in enumerate(ids))


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
