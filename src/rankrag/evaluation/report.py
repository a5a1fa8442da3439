"""The figures of a run as Markdown: retrieval, reranking, answers, citations, refusals, errors, time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rankrag.evaluation.aggregate import Evaluation, PairFigures, SystemFigures
from rankrag.evaluation.description import RunDescription, SetDescription
from rankrag.evaluation.metrics import ANSWER_METRICS, RANKING_METRICS
from rankrag.evaluation.outcomes import OUTCOMES
from rankrag.evaluation.statistics import Interval
from rankrag.evaluation.systems import System

Row = Sequence[str]


def render(evaluation: Evaluation) -> str:
    """Return the report; parts without figures are left out."""
    parts = [
        _head(evaluation.description),
        _first_stages(evaluation),
        _reranking(evaluation),
        _ranking_metrics(evaluation),
        _answers(evaluation),
        _reading(evaluation),
        _citations(evaluation),
        _refusals(evaluation),
        _calibration(evaluation),
        _stopping(evaluation),
        _pairs(evaluation),
        error_analysis(evaluation),
        _time(evaluation),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def section(text: str, header: Sequence[str], rows: Iterable[Row]) -> str:
    """Return a text with a Markdown table below it; columns without values are left out, and a table without rows."""
    table = [list(row) for row in rows]
    if not table:
        return ""
    kept = [place for place in range(len(header)) if any(row[place] for row in table)]
    lines = ["| " + " | ".join(row[place] for place in kept) + " |" for row in (list(header), *table)]
    return "\n".join([text, "", lines[0], "|" + "---|" * len(kept), *lines[1:]])


def error_analysis(evaluation: Evaluation) -> str:
    """Return what became of the questions, set by set, and which step loses most of them."""
    found = evaluation.all("compared")
    kinds = [kind for kind in OUTCOMES if any(kind in f.outcomes for _, _, f in found)]
    rows = [[s.title, system.name, str(f.questions), *(_share(f, kind) for kind in kinds)] for s, system, f in found]
    meanings = "\n".join(f"- **{kind}**: {OUTCOMES[kind]}" for kind in kinds)
    text = (
        "## Error analysis\n\n"
        "The outcome of every question: right, or the first step that lost it. The shares of a row add up to all its "
        f"questions.\n\n{meanings}"
    )
    table = section(text, ["set", "system", "questions", *kinds], rows)
    words = "\n".join(f"- {line}" for line in map(_worst_step, found) if line)
    return f"{table}\n\n{words}" if words else table


def _head(run: RunDescription) -> str:
    made = f"Made by `{run.command}`" if run.command else "Made by `rankrag evaluate`"
    machine = f" on {run.machine}" if run.machine else ""
    sizes = ", ".join(f"{s.title} {len(s.questions):,} of {s.size:,}" for s in run.sets)
    left_out = [f"{s.title} {count:,} ({why})" for s in run.sets for why, count in s.left_out.items()]
    without = f" Left out: {', '.join(left_out)}." if left_out else ""
    unranked = [f"{s.title} {s.unranked:,}" for s in run.sets if s.unranked]
    without += f" Questions that the given ranking has no passage for: {', '.join(unranked)}." if unranked else ""
    versions = ", ".join(f"{name} {value}" for name, value in run.made_with.items())
    text = (
        "# Results\n\n"
        f"{made}{machine}, {run.date}.\n\n"
        f"Questions: {sizes}; drawn with seed {run.seed}. All systems get the same ones, and retrievers alone all of a "
        f"set.{without}\n\n"
        f"Made with {versions} (for a model: a digest of its weights and prompts).\n\n"
        "Every figure is a mean over questions. Square brackets hold its 95 % confidence interval, from 2,000 "
        "bootstrap resamples of the questions."
    )
    rows = [_system(system) for system in run.systems if system.role != "first stage"]
    return section(
        text, ["system", "answers", "ranker", "first stage", "N", "k", "turns", "final order", "withheld"], rows
    )


def _system(system: System) -> Row:
    where = [system.first_stage, str(system.n), str(system.k or "fitted"), system.history_query or ""]
    if system.setting != "own":
        where = [system.setting, "as there", "as there", system.history_query or ""]
    ranked = system.ranked_by[0] == "model"
    order = "the model alone" if system.pure or system.setting != "own" else "as fitted"
    stops = f", stops at {system.settled_from}" if system.settled_from is not None else ""
    withheld = "below the threshold" if system.abstain and ranked and system.model != "none" else ""
    return [system.name, f"`{system.model}`", system.ranker, *where, f"{order}{stops}" if ranked else "", withheld]


def _first_stages(evaluation: Evaluation) -> str:
    seen: dict[tuple[str, str, str], SystemFigures] = {}
    for s, system, f in evaluation.all("first stage", "compared"):
        if f.first:
            alone = system.role == "first stage"
            turns = system.history_query or "" if s.style == "conversation" else ""
            name = s.first_stage or system.first_stage
            given = " (given)" if s.first_stage else ""
            seen.setdefault(
                (
                    s.title,
                    f"{name}{given}" + (f", turns: {turns}" if turns else ""),
                    "all" if alone else f"N = {system.n}",
                ),
                f,
            )
    columns = _named(RANKING_METRICS, (f.first for f in seen.values()))
    rows = [[*key, str(f.questions), *(_shown(f.first, name) for name in columns)] for key, f in seen.items()]
    text = (
        "## First stages\n\n"
        "Retrieval alone. R@k is the share of the gold passages among the first k; all-gold@5 the share of questions "
        "with all of them among the first five; hit@1 with one of them first; answer-recall@k with an answer in one of "
        "the first k. If a set's questions bring their own candidates, only these are ordered."
    )
    return section(text, ["set", "first stage", "candidates", "questions", *columns], rows)


def _reranking(evaluation: Evaluation) -> str:
    rows = [
        [
            s.title,
            system.name,
            s.first_stage or system.first_stage,
            s.metric,
            _shown(f.first, s.metric),
            _shown(f.figures, s.metric),
            "" if f.reachable is None else f"{f.reachable:.3f}",
            "" if f.gap is None else str(f.gap),
        ]
        for s, system, f in evaluation.all("compared", "order")
        if system.ranks and s.metric in f.first
    ]
    text = (
        "## Reranking\n\n"
        "The same candidates in the first stage's order and in the ranker's, by each set's metric. Reachable is the "
        "metric of a perfect order. Gap closed is (reranked - before) / (reachable - before): 0 is the first stage, 1 "
        "a perfect order, and below 0 the ranker does harm."
    )
    header = ["set", "system", "first stage", "metric", "before", "reranked", "reachable", "gap closed"]
    return section(text, header, rows)


def _ranking_metrics(evaluation: Evaluation) -> str:
    found = [(s, system, f) for s, system, f in evaluation.all("compared", "order") if system.ranks and f.first]
    columns = _named(RANKING_METRICS, (f.first for _, _, f in found))
    rows = [[s.title, system.name, *(_shown(f.figures, name) for name in columns)] for s, system, f in found]
    return section("### All metrics of the reranked order", ["set", "system", *columns], rows)


def _answers(evaluation: Evaluation) -> str:
    found = evaluation.all("compared")
    columns = _named({**ANSWER_METRICS, "refused": None}, (f.figures for _, _, f in found))
    rows = [
        [s.title, system.name, str(f.questions), *(_shown(f.figures, name) for name in columns)]
        for s, system, f in found
        if any(name in f.figures for name in columns)
    ]
    text = (
        "## Answers\n\n"
        "EM and F1 are scored as SQuAD does. Acc: the reply contains an answer, letter for letter. ChatRAG F1 splits "
        "words at punctuation. MIRAGE accuracy takes A if no letter is found, strict counts that as wrong, and parsed "
        "is the share with a letter. A question that was refused or failed counts as wrong."
    )
    return section(text, ["set", "system", "questions", *columns], rows)


def _reading(evaluation: Evaluation) -> str:
    rows = [
        [s.title, system.name, str(f.questions), *(_shown(f.figures, name) for name in ("EM", "F1"))]
        for s, system, f in evaluation.all("reading")
    ]
    text = (
        "## Reading\n\n"
        "The model gets the gold passage: alone; among BM25's four best others, shuffled; and as the best k of these "
        "five in its own order."
    )
    return section(text, ["set", "system", "questions", "EM", "F1"], rows)


def _citations(evaluation: Evaluation) -> str:
    names = ("citation precision", "citation recall", "first citation gold", "always [1]")
    rows = [
        [s.title, system.name, *(_shown(f.figures, name) for name in names)]
        for s, system, f in evaluation.all("compared", "reading")
        if "citation recall" in f.figures
    ]
    text = (
        "## Citations\n\n"
        "Precision is the share of citations that name a gold passage, over the answers that cite. Recall is the share "
        "of the gold passages that are cited, and first the share of questions whose first citation is gold, over all "
        "questions: a refusal counts as 0. The last column is the precision of always citing the first passage."
    )
    return section(text, ["set", "system", "precision", "recall", "first", "always [1]"], rows)


def _refusals(evaluation: Evaluation) -> str:
    names = ("refused", "withheld", "look-alike found", "refused despite look-alike")
    rows = [
        [s.title, "no" if s.unanswerable else "yes", system.name, *(_shown(f.figures, name) for name in names)]
        for s, system, f in evaluation.all("compared")
        if "refused" in f.figures and not system.closed_book
    ]
    text = (
        "## Refusals\n\n"
        "How often no answer is given: because no passage reaches the threshold (withheld), or because the reply says "
        "so. High is right for unanswerable questions, low for all others. The look-alike is the passage that only "
        "seems to answer an unanswerable question; the last column counts those questions where it was retrieved."
    )
    header = ["set", "answerable", "system", "refused", "withheld", "look-alike found", "of these refused"]
    return section(text, header, rows)


def _calibration(evaluation: Evaluation) -> str:
    rows = []
    for s, system, f in evaluation.all("compared"):
        own = f.calibration
        if own.passages or own.answers:
            ece, wrong, aurc = ("" if x is None else f"{x:.3f}" for x in (own.ece, own.wrong, own.aurc))
            rows.append([s.title, system.name, f"{own.passages:,}", ece, f"{own.answers:,}", wrong, aurc])
    text = (
        "## Calibration\n\n"
        "ECE is how far P(True) of the passages is from the share of them that is gold, on average over ten bins; it "
        "looks worse on a set that does not name all its relevant passages. Wrong is the share of wrong answers if all "
        "are given. AURC is that share if only the surest are given, by the best P(True), averaged over all shares of "
        "questions answered: the further below wrong, the more abstaining helps."
    )
    return section(text, ["set", "system", "passages", "ECE", "answers", "wrong", "AURC"], rows)


def _stopping(evaluation: Evaluation) -> str:
    rows: list[Row] = []
    for s in evaluation.description.sets:
        stops = [(system, f) for one, system, f in evaluation.all("stopping") if one is s]
        full = evaluation.of(s.name, stops[0][0].against) if stops else None
        rows += [_stop(s, "", full)] if full else []
        rows += [_stop(s, f"{system.settled_from}", f) for system, f in stops]
    text = (
        "## Judging fewer passages\n\n"
        "`settled_from` judges five candidates at a time, in the first stage's order, until the k-th best reaches this "
        "log-odds. Judged is the mean number of passages, gold read the share of the gold passages among the k that "
        "are read, and same the share of questions that read the same passages as when all are judged."
    )
    return section(text, ["set", "stops at", "judged", "gold read", "same", "answers"], rows)


def _stop(s: SetDescription, bound: str, f: SystemFigures) -> Row:
    judged = f"{f.figures['judged'].mean:.1f}" if "judged" in f.figures else ""
    same = f"{f.same_contexts:.2f}" if bound and f.same_contexts is not None else ""
    right = next((name for name in ANSWER_METRICS if name in f.figures), "")
    answers = f"{right} {_shown(f.figures, right)}" if right else ""
    return [s.title, bound or "all judged", judged, _shown(f.figures, "gold read"), same, answers]


def _pairs(evaluation: Evaluation) -> str:
    titles = {s.name: s.title for s in evaluation.description.sets}
    rows = [
        [titles[pair.benchmark], pair.system, pair.against, pair.metric, *_paired(pair)] for pair in evaluation.pairs
    ]
    text = (
        "## Systems against each other\n\n"
        "Each system less the one that it is tested against, on the same questions: the 95 % interval of a paired "
        "bootstrap, and the p-value of a two-sided paired permutation test, not corrected for the number of tests."
    )
    return section(text, ["set", "system", "against", "metric", "difference", "p"], rows)


def _paired(pair: PairFigures) -> Row:
    return signed(pair.paired.difference), f"{pair.paired.p:.4f}" if pair.paired.p >= 0.0001 else "< 0.0001"


def _time(evaluation: Evaluation) -> str:
    rows = []
    for s, system, f in evaluation.all("compared"):
        cells = [
            "" if median is None else f"{median:.3f} ({p90:.3f})"
            for median, p90 in (
                (f.times.median.t1, f.times.p90.t1),
                (f.times.median.t2, f.times.p90.t2),
                (f.times.median.t3, f.times.p90.t3),
            )
        ]
        if any(cells):
            rows.append([s.title, system.name, *cells, "" if f.cost is None else f"{f.cost:.1f}"])
    text = (
        "## Time\n\n"
        "Seconds for a typical question, the median, and in brackets the 90th percentile: its retrieval (t1), judging "
        "one passage (t2), its answer (t3), when many are done together. N · t2 / (t1 + t3) is what reranking adds "
        "(paper, section 5.5: 0.9 to 6.0 times for N = 20 to 100)."
    )
    return section(text, ["set", "system", "t1", "t2", "t3", "N·t2/(t1+t3)"], rows)


def _worst_step(row: tuple[SetDescription, System, SystemFigures]) -> str:
    """Return a sentence about the step that loses the most questions; "" if none is lost."""
    s, system, f = row
    lost = {kind: count for kind, count in f.outcomes.items() if kind != "right"}
    if not lost:
        return ""
    worst, count = max(lost.items(), key=lambda item: item[1])
    wrong = sum(lost.values())
    return (
        f"{s.title}, {system.name}: {wrong} of {f.questions} are not right, and most of them are {worst} "
        f"({count}, {count / wrong:.0%})."
    )


def signed(interval: Interval) -> str:
    """Return a difference with its interval, every number with its sign."""
    return f"{interval.mean:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def _named(order: Iterable[str], figures: Iterable[dict[str, Interval]]) -> list[str]:
    """Return the metrics that some of the figures have, in this order."""
    found = {name for row in figures for name in row}
    return [name for name in order if name in found]


def _shown(figures: dict[str, Interval], name: str) -> str:
    return str(figures[name]) if name in figures else ""


def _share(f: SystemFigures, kind: str) -> str:
    count = sum(count for name, count in f.outcomes.items() if name == kind)
    return f"{count / f.questions:.1%} ({count})" if count else ""
