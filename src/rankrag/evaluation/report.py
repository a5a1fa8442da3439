"""docs/results.md: the figures of a summary as tables that a person can read."""

from __future__ import annotations

from rankrag.evaluation.answer_report import answers, examples, reading, refusals
from rankrag.evaluation.markdown import calibration_cells, calibration_section, maybe, section
from rankrag.evaluation.metrics import Interval
from rankrag.evaluation.summary import Figures, RerankedFigures, SetFigures, Summary

NAMES = {"bm25": "BM25", "dense": "dense", "hybrid": "hybrid"}
COLUMNS = ("R@1", "R@5", "R@20", "all-gold@5", "hit@1", "NDCG@10")


def render(summary: Summary) -> str:
    """Return the report as Markdown; a part without figures is left out."""
    parts = [
        _head(summary),
        _first_stages(summary),
        _reranked(summary),
        answers(summary),
        reading(summary),
        refusals(summary),
        _calibration(summary),
        _stopping(summary),
        examples(summary.examples) if summary.examples else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(summary: Summary) -> str:
    made = f"Made by `{summary.command}`" if summary.command else "Made by `rankrag evaluate`"
    machine = f" on {summary.machine}" if summary.machine else ""
    lines = ["# Results", f"{made}{machine}, {summary.date}."]
    if summary.model:
        threshold = "none" if summary.abstain_below is None else f"{summary.abstain_below:.2f}"
        lines.append(
            f"The model is `{summary.model}`. It reranks N = {summary.n} passages and answers from k = {summary.k}; "
            f"weight of the encoder's cosine {summary.similarity_weight:g}, threshold of abstention {threshold} "
            f"(log-odds), conversations searched by {_turns(summary.history_query)}; samples drawn with seed "
            f"{summary.seed}."
        )
    lines.append(
        "Every figure is a mean over questions. Square brackets hold its 95 % interval, from 2,000 bootstrap resamples "
        "of the questions. What each part of the recipe brings: [ablations.md](ablations.md)."
    )
    return "\n\n".join(lines)


def _first_stages(summary: Summary) -> str:
    rows = [
        [of.title, _first_stage_name(of, row.retriever, row.history), str(row.questions), *_means(row.figures)]
        for of in summary.sets
        for row in of.first_stages
    ]
    text = (
        "## First stages, all questions\n\n"
        "How well retrieval does alone. R@k is the share of the gold passages among the first k, all-gold@5 the share "
        "of questions with all of them among the first five, hit@1 the share with one of them in the first place. "
        "MS MARCO's questions bring their own candidates, and only these are ordered. For TREC DL, “BM25” is the "
        "ranking of all of MS MARCO that comes with the set; dense retrieval searches the set's own passages, and "
        "hybrid fuses the two."
    )
    return section(text, ["set", "first stage", "questions", *COLUMNS], rows)


def _reranked(summary: Summary) -> str:
    rows = [
        [
            of.title,
            _searcher(of, row.retriever),
            str(row.questions),
            of.metric,
            str(row.first[of.metric]),
            str(row.pure[of.metric]),
            str(row.blended[of.metric]),
            f"{row.reachable:.3f}",
        ]
        for of in summary.sets
        for row in of.reranked
    ]
    text = (
        "## Reranked\n\n"
        f"The same questions and the same {summary.n} candidates, before and after the model. “P(True)” is the "
        f"paper's order; “blended” is the pipeline's, which adds {summary.similarity_weight:g} · the cosine of "
        "question and passage by the encoder to the log-odds, over BM25 too. “Reachable” is the figure of a perfect "
        "order of these candidates."
    )
    header = ["set", "first stage", "questions", "metric", "before", "P(True)", "blended", "reachable"]
    return "\n\n".join(part for part in (section(text, header, rows), _gaps(summary), _detail(summary)) if part)


def _gaps(summary: Summary) -> str:
    rows = [
        [
            of.title,
            _searcher(of, row.retriever),
            of.metric,
            maybe(row.gap_pure),
            maybe(row.gap_blended),
            *_target(of, row),
        ]
        for of in summary.sets
        for row in of.reranked
    ]
    text = (
        "### Share of the reachable gap closed\n\n"
        "(reranked - before) / (reachable - before). 0 is the first stage, 1 a perfect order, and below 0 the model "
        "does harm. Targets are rankrag-mini's over BM25, after training on a CPU and on a GPU; what P(True) alone and "
        "the blended order meet of them stands behind."
    )
    header = ["set", "first stage", "metric", "P(True)", "blended", "targets, CPU and GPU", "P(True) meets", "blended"]
    return section(text, header, rows)


def _detail(summary: Summary) -> str:
    rows = [
        [of.title, _searcher(of, row.retriever), order, *_means(found)]
        for of in summary.sets
        for row in of.reranked
        for order, found in (("before", row.first), ("P(True)", row.pure), ("blended", row.blended))
    ]
    text = "### All metrics of the reranked questions\n\nOn the same questions as above."
    return section(text, ["set", "first stage", "order", *COLUMNS], rows)


def _target(of: SetFigures, row: RerankedFigures) -> list[str]:
    """Return the targets and what each order met of them. Those for hit@1 and NDCG@10 are the figure itself."""
    if of.target is None or row.retriever != "bm25" or of.first_stage:
        return ["", "", ""]
    itself = of.metric in ("hit@1", "NDCG@10")
    reached = (row.pure[of.metric], row.blended[of.metric]) if itself else (row.gap_pure, row.gap_blended)
    cpu, gpu = of.target
    return [f"{f'{of.metric} ' if itself else ''}≥ {cpu:.2f}, {gpu:.2f}", *(_reached(x, cpu, gpu) for x in reached)]


def _reached(found: Interval | None, cpu: float, gpu: float) -> str:
    if found is None or found.mean < cpu:
        return "**none**"
    return "both" if found.mean >= gpu else "CPU"


def _calibration(summary: Summary) -> str:
    rows = [[of.title, *calibration_cells(of.calibration)] for of in summary.sets if of.calibration]
    return calibration_section(rows, ["set"])


def _stopping(summary: Summary) -> str:
    rows = [
        [
            of.title,
            "all" if row.bound is None else f"{row.bound:g}",
            f"{row.judged:.1f}",
            str(row.recall),
            f"{row.same:.2f}",
            maybe(row.em),
        ]
        for of in summary.sets
        for row in of.stopping
    ]
    text = (
        "## Judging fewer passages\n\n"
        "`--settled-from B` judges five candidates at a time, in the first stage's order, until the k-th best reaches "
        f"the log-odds B. Judged is the mean number, of {summary.n} at most; R@{summary.k} and EM are of the "
        f"k = {summary.k} best, and “same” is the share of questions for which these are those of judging all."
    )
    return section(text, ["set", "B", "judged", f"R@{summary.k}", "same", "EM"], rows)


def _means(found: Figures) -> list[str]:
    return [str(found[name]) if name in found else "" for name in COLUMNS]


def _searcher(of: SetFigures, retriever: str) -> str:
    return of.first_stage or NAMES[retriever]


def _first_stage_name(of: SetFigures, retriever: str, history: str) -> str:
    given = " (given)" if of.first_stage or (of.name.startswith("trec_dl") and retriever == "bm25") else ""
    return _searcher(of, retriever) + given + (f", {_turns(history)}" if history else "")


def _turns(history: str) -> str:
    return {"all": "all turns", "both": "the last turn and all turns"}.get(history, "the last turn")
