"""What reranking costs a user: `python benchmarks/ask.py` times whole questions to rankrag-mini.

Example questions go through the pipeline over the example documents, with hybrid retrieval and N = 20, 50 and 100. Each
is asked without reranking, with the careful loop of `rivals.py`, with ours when no passage is known, and with ours when
all are (the same question again: states of passages are kept, never questions). The last two run once more with
`settled_from`. The ways take turns within a question, so that other load affects all alike, and ratios are computed
within a question. One process has the model open, in the number type that `ask` uses by default on this machine.
Afterwards the command asks one question in a new process each time. The figures go into docs/performance.md, with a
plot.

"Same answer" is a check and does not measure quality: docs/results.md has exact match with and without stopping.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, median

from harness import ROOT, gemm_rate, machine, put_figures, spread, svg_pyplot
from rerank import work
from rivals import careful_loop

from rankrag.config.answering import AskConfig
from rankrag.evaluation.own_documents import read_sourced_questions
from rankrag.models.state_cache import StateCache
from rankrag.models.transformers import TransformersModel
from rankrag.opening import load, open_model
from rankrag.pipeline import RankRAG
from rankrag.rerank import Decision
from rankrag.types import Answer, Question, Ranking, ScoredPassage

PAGE, PLOT = ROOT / "docs" / "performance.md", ROOT / "docs" / "performance-ask.svg"
NONE, CAREFUL, COLD, KNOWN = "no reranking", "careful Hugging Face loop", "rankrag", "rankrag, passages known"
EARLY, EARLY_KNOWN = "rankrag, stopping early", "rankrag, stopping early, passages known"
WAYS = (NONE, CAREFUL, COLD, KNOWN, EARLY, EARLY_KNOWN)
HEADS = ("way", "judged", "rerank s", "of the careful loop's (spread)", "retrieve s", "answer and cite s")
HEADS += ("first text s", "all s", "rerank / rest", "same answer")
STEPS = ("retrieve", "rerank", "generate", "first_text", "total", "judged")
COLD_GOAL, COLD_RUNS, COLD_N = 8.0, 6, 20
"""Seconds of a whole `rankrag ask` in a new process."""


@dataclass(frozen=True)
class Asked:
    """A question asked one way: seconds of the three steps and up to the first text, passages judged, the answer."""

    n: int
    way: str
    question: str
    retrieve: float
    rerank: float
    generate: float
    first_text: float
    judged: int
    text: str

    @property
    def total(self) -> float:
        """Seconds of the whole question."""
        return self.retrieve + self.rerank + self.generate


def main() -> None:
    """Measure, print, and write the page's figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", nargs="+", type=int, default=[20, 50, 100])
    parser.add_argument("--questions", type=int, default=5, help="of the answerable examples, evenly drawn")
    parser.add_argument("--dry", action="store_true", help="print, but leave docs/ alone")
    wanted = parser.parse_args()
    model = open_model()
    assert isinstance(model, TransformersModel)
    rows: list[Asked] = []
    with tempfile.TemporaryDirectory() as folder:
        index = indexed(Path(folder))
        questions = drawn(wanted.questions)
        for n in wanted.n:
            pipelines = ways(model, load(index, AskConfig(n=n, settled_from=None), model=model))
            for ask in pipelines.values():  # not counted: the first pass through a way warms it up
                ask(questions[0])
            for question in questions:
                rows += [ask(question) for ask in pipelines.values()]
            print("\n".join(table(n, [row for row in rows if row.n == n])), flush=True)
        cold = cold_table(index, questions[0].text)
        print("\n".join(cold), flush=True)
    rate = gemm_rate(576, 1536)
    lines = [
        f"`{shlex.join(['python', 'benchmarks/ask.py', *sys.argv[1:]])}` on {machine()}, "
        f"{str(model.model.dtype).removeprefix('torch.')}; torch {version('torch')}, transformers "
        f"{version('transformers')}; matrix products in float32: {rate / 1e9:.1f} Gflop/s, a token of mini takes "
        f"{work(model) / 1e9:.2f} GFLOP. {len(questions)} questions, k = {model.contract.k}; early: "
        f"`settled_from=fitted`, {model.contract.settled_from}.",
    ]
    for n in wanted.n:
        lines += ["", *table(n, [row for row in rows if row.n == n])]
    lines += ["", *cold]
    if not wanted.dry:
        put_figures(PAGE, "`python benchmarks/ask.py`", lines)
        plot(rows)


def cold_table(index: Path, question: str) -> list[str]:
    """Return the table of what `rankrag ask` takes in a new process, from start to end."""
    lines = [
        f"### In a new process, N = {COLD_N}",
        "",
        f"| command | s, the middle of {COLD_RUNS} runs (spread) | goal |",
        "|---|---|---|",
    ]
    for options in (["--set", "settled_from=null"], []):
        command = [
            sys.executable,
            "-m",
            "rankrag",
            "ask",
            question,
            "--index",
            str(index),
            "--n",
            str(COLD_N),
            *options,
        ]
        seconds = []
        for _ in range(COLD_RUNS):
            began = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - began)
        verdict = "met" if median(seconds) <= COLD_GOAL else "**missed**"
        lines.append(f"| `{shlex.join(['rankrag', 'ask', *options])}` | {spread(seconds)} | {COLD_GOAL:g}, {verdict} |")
    return lines


def indexed(folder: Path) -> Path:
    """Return an index of the example documents, with vectors."""
    command = [sys.executable, "-m", "rankrag", "index", str(ROOT / "examples" / "corpus"), "--out", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


def drawn(count: int) -> list[Question]:
    """Return that many answerable example questions, spread over all."""
    asked = read_sourced_questions(ROOT / "examples" / "questions.jsonl")
    questions = [one.question for one in asked if one.question.answers]
    return questions[:: max(1, len(questions) // count)][:count]


def ways(model: TransformersModel, exact: RankRAG) -> dict[str, Callable[[Question], Asked]]:
    """Return how to ask a question each way; known passages are those that the previous way read."""
    score = careful_loop(model)

    class Careful(RankRAG):
        """Ranks by the loop that anyone would write."""

        def rerank_many(self, asked: Sequence[tuple[Question, Ranking]]) -> list[Decision]:
            found = []
            for question, retrieved in asked:
                odds = score([(question, c.passage) for c in retrieved])
                ranking = tuple(sorted(map(rescored, retrieved, odds), key=lambda c: -c.score))
                found.append(self.decide(ranking, ()))
            return found

    early = with_settings(exact, settled_from="fitted")

    def way(name: str, pipeline: RankRAG, *, known: bool) -> Callable[[Question], Asked]:
        def ask(question: Question) -> Asked:
            if not known:
                model.states = StateCache()
            return asked(name, pipeline, question)

        return ask

    return {
        NONE: way(NONE, with_settings(exact, rerank=False), known=False),
        CAREFUL: way(CAREFUL, Careful(exact.retriever, exact.model, exact.settings), known=False),
        COLD: way(COLD, exact, known=False),
        KNOWN: way(KNOWN, exact, known=True),
        EARLY: way(EARLY, early, known=False),
        EARLY_KNOWN: way(EARLY_KNOWN, early, known=True),
    }


def with_settings(pipeline: RankRAG, **values: object) -> RankRAG:
    """Return a pipeline with other settings."""
    return replace(pipeline, settings=pipeline.settings.model_copy(update=values))


def rescored(candidate: ScoredPassage, odds: float) -> ScoredPassage:
    """Return a candidate with these log-odds."""
    return replace(candidate, score=odds)


def asked(name: str, pipeline: RankRAG, question: Question) -> Asked:
    """Ask, and take the times."""
    began, first = time.perf_counter(), 0.0
    for piece in pipeline.stream(question):
        first = first or time.perf_counter() - began
        if isinstance(piece, Answer):
            took = piece.timings
            judged = len(piece.relevance) or (pipeline.settings.n if name == CAREFUL else 0)
            return Asked(
                pipeline.settings.n,
                name,
                question.id,
                took.retrieve,
                took.rerank,
                took.generate,
                first,
                judged,
                piece.text,
            )
    raise AssertionError("a stream ends with its answer")


def table(n: int, rows: Sequence[Asked]) -> list[str]:
    """Return the lines of one N: means of seconds, and ratios within a question."""
    by_way = {way: [row for row in rows if row.way == way] for way in WAYS}
    careful = [row.rerank for row in by_way[CAREFUL]]
    exact = [row.text for row in by_way[COLD]]
    lines = [
        f"### N = {n}",
        "",
        f"| {' | '.join(HEADS)} |",
        f"|{'---|' * len(HEADS)}",
    ]
    for way, of in by_way.items():
        shares = [row.rerank / other for row, other in zip(of, careful, strict=True)]
        mean = {name: fmean(getattr(row, name) for row in of) for name in STEPS}
        same = sum(row.text == text for row, text in zip(of, exact, strict=True))
        cost = mean["rerank"] / (mean["retrieve"] + mean["generate"])
        lines.append(
            f"| {way} | {mean['judged']:.1f} | {mean['rerank']:.2f} | {spread(shares) if way != NONE else '-'} | "
            f"{mean['retrieve']:.2f} | {mean['generate']:.2f} | {mean['first_text']:.2f} | {mean['total']:.2f} | "
            f"{cost:.2f} | {same} of {len(of)} |"
        )
    return lines


def plot(rows: Sequence[Asked]) -> None:
    """Draw where the time of a question goes, by way and N; without matplotlib, say so and draw nothing."""
    pyplot = svg_pyplot()
    if pyplot is None:
        return
    sizes = list(dict.fromkeys(row.n for row in rows))
    figure, axes = pyplot.subplots(1, len(sizes), figsize=(11, 2.8), sharey=True, squeeze=False, layout="constrained")
    for axis, n in zip(axes[0], sizes, strict=True):
        at = [0.0] * len(WAYS)
        for step, colour in zip(STEPS[:3], ("#ccbb44", "#4477aa", "#66ccee"), strict=True):
            means = [fmean(getattr(row, step) for row in rows if row.n == n and row.way == way) for way in WAYS]
            axis.barh(WAYS, means, left=at, color=colour, label=step)
            at = [a + mean for a, mean in zip(at, means, strict=True)]
        axis.set_title(f"N = {n}", fontsize=9)
        axis.set_xlabel("seconds a question", fontsize=8)
        axis.tick_params(labelsize=8)
    axes[0, 0].invert_yaxis()  # of all, which share it
    axes[0, -1].legend(fontsize=8)
    figure.savefig(PLOT, metadata={"Date": None})


if __name__ == "__main__":
    main()
