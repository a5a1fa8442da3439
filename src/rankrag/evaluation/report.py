"""docs/results.md: the figures of a summary as tables that a person can read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rankrag.evaluation.calibration import Calibration
from rankrag.evaluation.metrics import Interval
from rankrag.evaluation.summary import AnswerFigures, ExampleFigures, Figures, RerankedFigures, SetFigures, Summary

NAMES = {"bm25": "BM25", "dense": "dense", "hybrid": "hybrid"}
COLUMNS = ("R@1", "R@5", "R@20", "all-gold@5", "hit@1", "NDCG@10")

SQUAD_EM = 0.50
CITED = 0.85
UNANSWERABLE_REFUSED = 0.8
ANSWERABLE_REFUSED = 3 / 50


def render(summary: Summary) -> str:
    """Return the report as Markdown; a part without figures is left out."""
    parts = [
        _head(summary),
        _first_stages(summary),
        _reranked(summary),
        _answers(summary),
        _reading(summary),
        _refusals(summary),
        _calibration(summary),
        _stopping(summary),
        _examples(summary.examples) if summary.examples else "",
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
        [of.title, _first_stage_name(of.name, row.retriever, row.history), str(row.questions), *_means(row.figures)]
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
            NAMES[row.retriever],
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
        [of.title, NAMES[row.retriever], of.metric, _maybe(row.gap_pure), _maybe(row.gap_blended), *_target(of, row)]
        for of in summary.sets
        for row in of.reranked
    ]
    text = (
        "### Share of the reachable gap closed\n\n"
        "(reranked - before) / (reachable - before). 0 is the first stage, 1 a perfect order, and below 0 the model "
        "does harm. Targets are rankrag-mini's, trained on a GPU, for the blended order over BM25."
    )
    return section(text, ["set", "first stage", "metric", "P(True)", "blended", "target", "met"], rows)


def _detail(summary: Summary) -> str:
    rows = [
        [of.title, NAMES[row.retriever], order, *_means(found)]
        for of in summary.sets
        for row in of.reranked
        for order, found in (("before", row.first), ("P(True)", row.pure), ("blended", row.blended))
    ]
    text = "### All metrics of the reranked questions\n\nOn the same questions as above."
    return section(text, ["set", "first stage", "order", *COLUMNS], rows)


def _target(of: SetFigures, row: RerankedFigures) -> list[str]:
    """Return the target and whether the blended order met it. Those for hit@1 and NDCG@10 are the figure itself."""
    if of.target is None or row.retriever != "bm25":
        return ["", ""]
    if of.metric in ("hit@1", "NDCG@10"):
        return [f"{of.metric} ≥ {of.target:.2f}", _met(row.blended[of.metric].mean >= of.target)]
    return [f"≥ {of.target:.2f}", _met(row.gap_blended is not None and row.gap_blended.mean >= of.target)]


def _answers(summary: Summary) -> str:
    rows = [
        [of.title, str(a.questions), *map(str, (a.em_first_stage, a.em, a.f1_first_stage, a.f1, a.f1_gain))]
        for of in summary.sets
        if (a := of.answers) and not _by_label(a)
    ]
    own = [
        [of.title, name, str(a.own_first_stage[name]), str(found)]
        for of in summary.sets
        if (a := of.answers)
        for name, found in a.own.items()
    ]
    text = (
        "## Answers\n\n"
        f"EM and F1 (as SQuAD scores them) of the answer from k = {summary.k} passages: the first ones of hybrid "
        "retrieval (of BM25 where hybrid was not run), and the first ones after its candidates were reranked, blended. "
        "Replies count as they are: a refusal in words is a wrong answer, and the threshold withholds nothing here."
    )
    header = ["set", "questions", "EM without", "EM reranked", "F1 without", "F1 reranked", "gain in F1"]
    own_text = (
        "### By the rules of each set\n\n"
        "Acc: an answer stands in the reply, letter for letter. ChatRAG F1 parts words at punctuation. FEVER accuracy "
        "reads the verdict. MIRAGE accuracy takes A where no letter is found, strict counts that as wrong, and parsed "
        "is the share with a letter."
    )
    own_header = ["set", "metric", "without", "reranked"]
    return "\n\n".join(part for part in (section(text, header, rows), section(own_text, own_header, own)) if part)


def _by_label(answers: AnswerFigures) -> bool:
    """Whether answers are labels, of which SQuAD's EM and F1 say nothing."""
    return any(name.startswith(("FEVER", "MIRAGE")) for name in answers.own)


def _reading(summary: Summary) -> str:
    read = [(of.title, of.reading) for of in summary.sets if of.reading]
    rows = [
        [
            title,
            str(r.questions),
            *map(str, (r.em_gold, r.f1_gold, r.five.em, r.five.f1, r.ranked.em, r.ranked.f1)),
            f"EM ≥ {SQUAD_EM:.2f}",
            _met(r.em_gold.mean >= SQUAD_EM),
        ]
        for title, r in read
    ]
    best = f"best {summary.k} of them"
    text = (
        "## Reading\n\n"
        "The model gets the gold passage: alone, among BM25's four best others, shuffled, and among the best "
        f"{summary.k} of these five in its own order, as the pipeline reads. The target is for the gold passage alone."
    )
    header = ["set", "questions", "EM, alone", "F1, alone", "EM, of five", "F1, of five", f"EM, {best}", f"F1, {best}"]
    cited = [
        [
            title,
            read_from,
            _maybe(of.precision),
            str(of.recall),
            str(of.always_first),
            f"both ≥ {CITED:.2f}",
            _met(of.precision is not None and min(of.precision.mean, of.recall.mean) >= CITED),
        ]
        for title, r in read
        for read_from, of in ((f"the {best}", r.ranked), ("all five", r.five))
    ]
    cited_text = (
        "## Citations\n\n"
        "The gold passage among the same five. Precision is the share of citations that name it, of the answers that "
        "cite; recall is the share of all questions whose answer cites it, so a refusal counts against it. A system "
        "that always cites [1] gets the last figure in both: from the best one, it is how often that is the gold one. "
        "An answer from all five is often copied from a wrong one, which its citation then names."
    )
    cited_header = ["set", "read", "precision", "recall", "always [1]", "target", "met"]
    tables = (section(text, [*header, "target", "met"], rows), section(cited_text, cited_header, cited))
    return "\n\n".join(part for part in tables if part)


def _refusals(summary: Summary) -> str:
    rows = [
        [
            of.title,
            "yes" if r.answerable else "no",
            str(r.questions),
            str(r.refused),
            f"{r.below_threshold:.3f}",
            "" if r.near_found is None else f"{r.near_found:.3f}",
            "" if r.near_found is None else _maybe(r.refused_near),
        ]
        for of in summary.sets
        if (r := of.refusals)
    ]
    text = (
        "## Refusals\n\n"
        "How often the pipeline does not answer, because no passage reaches the threshold or because the reply says "
        "so. High is right for questions without an answer, low for all others. The unanswerable ones of SQuAD 2.0 "
        "are made to look answerable: the last two columns are about those whose look-alike paragraph was retrieved."
    )
    header = ["set", "answerable", "questions", "refused", "by the threshold", "look-alike found", "of these refused"]
    return section(text, header, rows)


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
            _maybe(row.em),
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


def _examples(of: ExampleFigures) -> str:
    rows = [
        _count("unanswerable, refused", of.unanswerable_refused, of.unanswerable, UNANSWERABLE_REFUSED, at_least=True),
        _count("answerable, refused", of.answerable_refused, of.answerable, ANSWERABLE_REFUSED, at_least=False),
        ["EM of the answerable", f"{of.em:.3f}", "", ""],
        ["F1 of the answerable", f"{of.f1:.3f}", "", ""],
    ]
    if of.source_hit is not None:
        rows.append(["first citation from the right file", f"{of.source_hit:.3f}", "", ""])
    text = "## Examples\n\nThe questions of `examples/questions.jsonl` over `examples/corpus`, through the pipeline."
    return section(text, ["", "found", "target", "met"], rows)


def _count(name: str, refused: int, total: int, share: float, *, at_least: bool) -> list[str]:
    met = refused >= share * total if at_least else refused <= share * total
    wanted = f"at {'least' if at_least else 'most'} {share:.0%}"
    return [name, f"{refused} of {total}", wanted, _met(met)]


def section(text: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a text with a Markdown table below it; nothing where the table has no rows."""
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    if not lines:
        return ""
    return "\n".join([text, "", "| " + " | ".join(header) + " |", "|" + "---|" * len(header), *lines])


def calibration_section(rows: Sequence[Sequence[str]], names: Sequence[str]) -> str:
    """Return the part about calibration; each row begins with what `names` head, then `calibration_cells`."""
    text = (
        "## Calibration\n\n"
        "ECE is how far P(True) of the passages lies from the share of them that is gold, on average, in ten bins; a "
        "set that does not name all its relevant passages makes it look worse. Wrong is the share of answers that are "
        "not right when all are given; AURC is its mean when only the surest are given, by the best P(True), over all "
        "shares of questions answered: the further below wrong, the more abstaining buys."
    )
    return section(text, [*names, "passages", "ECE", "answers", "wrong", "AURC"], rows)


def calibration_cells(of: Calibration) -> tuple[str, ...]:
    """Return the cells of a row about calibration."""
    ece, wrong, aurc = ("" if x is None else f"{x:.3f}" for x in (of.ece, of.wrong, of.aurc))
    return (f"{of.passages:,}", ece, f"{of.answers:,}", wrong, aurc)


def _means(found: Figures) -> list[str]:
    return [str(found[name]) if name in found else "" for name in COLUMNS]


def _first_stage_name(name: str, retriever: str, history: str) -> str:
    given = " (given)" if name.startswith("trec_dl") and retriever == "bm25" else ""
    return NAMES[retriever] + given + (f", {_turns(history)}" if history else "")


def _turns(history: str) -> str:
    return {"all": "all turns", "both": "the last turn and all turns"}.get(history, "the last turn")


def _maybe(interval: Interval | None) -> str:
    return "-" if interval is None else str(interval)


def _met(met: bool) -> str:
    return "yes" if met else "**no**"
