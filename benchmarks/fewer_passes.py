"""Quality against cost of judging fewer passages, on dev sets: `python benchmarks/fewer_passes.py RUN --data DATA`.

RUN is a folder of `rankrag evaluate`; its journals are used, and what they lack is asked of the model. For each set and
each bound of `--settled-from` printed are the passages judged of a question, recall of the gold passages in the top k,
the share of questions with the exact top k, and with `--answers` exact match of the replies. `--windows` adds windows
of five, which are asked of the model every time. The bounds are only where the curve is drawn; the one to use is fitted
on held-back training questions by `rankrag fit`.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from rankrag.cli.options import say, step_lines
from rankrag.evaluation.benchmarks import Judged, TestSet, folder_name
from rankrag.evaluation.catalogue import BENCHMARKS
from rankrag.evaluation.first_stage import Ids
from rankrag.evaluation.loading import load
from rankrag.evaluation.metrics import exact_match, recall_at
from rankrag.evaluation.run import first_stages
from rankrag.evaluation.selection import Case
from rankrag.evaluation.settling import SettlingTrial, settled_top, settling_trial, settling_trials
from rankrag.evaluation.work import ModelWork, model_key
from rankrag.fewer_passes import NEVER, rerank_in_windows
from rankrag.models import LanguageModel
from rankrag.models.mini import MINI, resolve_model
from rankrag.opening import open_model
from rankrag.types import ScoredPassage

SETS = ("squad", "nq", "hotpotqa", "doc2dial")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="run folder of `rankrag evaluate`")
    parser.add_argument("--data", type=Path, default=os.environ.get("RANKRAG_DATA"), help="folder of the data sets")
    parser.add_argument("--set", action="append", dest="sets", choices=sorted(BENCHMARKS), help="may be given often")
    parser.add_argument("--model", default=MINI)
    parser.add_argument("--score", choices=("true", "true_vs_false", "layer_head"), help="by default the contract's")
    parser.add_argument("--n", type=int, default=20)
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--sample", type=int, help="questions of a set; by default its small sample")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--bound", action="append", type=float, help="instead of the curve; may be given often")
    parser.add_argument("--answers", action="store_true", help="also exact match")
    parser.add_argument("--windows", action="store_true", help="also windows of five")
    wanted = parser.parse_args()
    directory = resolve_model(wanted.model, say)
    model = open_model(directory, score=wanted.score, say=say)
    for name in wanted.sets or SETS:
        test_set = load(BENCHMARKS[name], wanted.data)
        _measure(test_set, model, directory, wanted)


def _measure(test_set: TestSet, model: LanguageModel, directory: str, wanted: argparse.Namespace) -> None:
    n, k = wanted.n, wanted.k
    history = model.contract.history_query if test_set.benchmark.style == "conversation" else "last"
    stage = first_stages(test_set, wanted.run, retrievers=("bm25",))["bm25", history]
    questions = test_set.sample(wanted.sample or test_set.benchmark.small_sample, wanted.seed)
    folder = wanted.run / folder_name(test_set) / model_key(model, directory)
    with step_lines() as step:
        work = ModelWork(model, test_set.passages, folder, test_set.benchmark.title, step)
        judged = work.judgements([(of, stage[of.question.id][:n]) for of in questions])
        odds = {name: {i: j.log_odds for i, j in of.items()} for name, of in judged.items()}
        cases = [Case(of.gold, (stage[of.question.id][:n],), odds[of.question.id]) for of in questions]
        weight = model.contract.fitted.first_stage_weight
        print(f"\n{test_set.benchmark.title}: {len(questions)} questions, BM25's {n}, top {k}, {directory}")
        print(f"{'bound':>8} {'judged':>7} {f'R@{k}':>6} {'same':>6} {'EM':>6}")
        bounds = [NEVER, *sorted(wanted.bound or (), reverse=True)]
        named = [settling_trial(cases, k, bound, weight) for bound in bounds]
        for trial in named if wanted.bound else settling_trials(cases, k, weight):
            contexts = [_top(case, trial, k, weight) for case in cases]
            em = _exact(work, questions, contexts) if wanted.answers else None
            bound = "never" if trial.bound is None else f"{trial.bound:.2f}"
            shown = "" if em is None else f"{em:.3f}"
            print(f"{bound:>8} {trial.judged:7.1f} {trial.recall:6.3f} {trial.same:6.3f} {shown:>6}", flush=True)
        if wanted.windows:
            found = [_windows(model, test_set, of, stage[of.question.id][:n], k) for of in questions]
            recall = fmean(recall_at(ids, of.gold, k) for ids, of in zip(found, questions, strict=True))
            em = f"{_exact(work, questions, found):.3f}" if wanted.answers else ""
            calls = fmean(-(-len(case.first_stages[0]) // 5) for case in cases)
            print(f"{'windows':>8} {calls:6.1f}c {recall:6.3f} {'':>6} {em:>6}", flush=True)
        before = fmean(recall_at(case.first_stages[0], case.gold, k) for case in cases)
        print(f"{'BM25':>8} {0:7.1f} {before:6.3f}")


def _top(case: Case, trial: SettlingTrial, k: int, weight: float) -> Ids:
    (ids,) = case.first_stages
    bound = NEVER if trial.bound is None else trial.bound
    return settled_top(ids, case.log_odds, k, bound, weight)[1]


def _exact(work: ModelWork, questions: Sequence[Judged], contexts: Sequence[Ids]) -> float:
    replies = work.replies(list(zip(questions, contexts, strict=True)))
    return fmean(exact_match(reply, of.question.answers) for reply, of in zip(replies, questions, strict=True))


def _windows(model: LanguageModel, test_set: TestSet, of: Judged, ids: Ids, k: int) -> Ids:
    retrieved = tuple(ScoredPassage(test_set.passages[i], -float(r)) for r, i in enumerate(ids))
    return tuple(c.passage.id for c in rerank_in_windows(model, of.question, retrieved)[:k])


if __name__ == "__main__":
    main()
