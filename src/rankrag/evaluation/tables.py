"""The tables of the report: the text of each one, the systems that it shows, and its columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rankrag.evaluation.aggregate import Evaluation, SystemFigures
from rankrag.evaluation.description import SetDescription
from rankrag.evaluation.metrics import ANSWER_METRICS, RANKING_METRICS
from rankrag.evaluation.outcomes import OUTCOMES, Outcome
from rankrag.evaluation.systems import System


@dataclass(frozen=True, slots=True)
class SystemRow:
    """A system on a set, with its figures and those of the system that it is tested against."""

    of_set: SetDescription
    system: System
    figures: SystemFigures

    def shown(self, metric: str) -> str:
        """Return a metric of the final order and of answers; "" if it was not measured."""
        return str(self.figures.figures.get(metric, ""))

    def before(self, metric: str) -> str:
        """Return a ranking metric in the first stage's order; "" if it was not measured."""
        return str(self.figures.first.get(metric, ""))

    def cell(self, column: str | Cell) -> str:
        """Return what a column shows: a metric by its name, or what a function finds."""
        return self.shown(column) if isinstance(column, str) else column(self)

    @property
    def first_stage(self) -> str:
        """The first stage in words, with the turns that a conversation was searched by."""
        given = f"{self.of_set.first_stage} (given)" if self.of_set.first_stage else self.system.first_stage
        return f"{given}, turns: {self.system.history_query}" if self.of_set.style == "conversation" else given


Cell = Callable[[SystemRow], str]


@dataclass(frozen=True, slots=True)
class ReportTable:
    """A part of the report: rows of all systems with one of `roles`, if `shows` says so.

    A column is a function of the row, or the name of a metric (`SystemRow.shown`).
    """

    text: str
    roles: tuple[str, ...]
    columns: Mapping[str, str | Cell]
    shows: Callable[[SystemRow], bool] = lambda _: True

    def render(self, evaluation: Evaluation) -> str:
        """Return the table with its text; equal rows are shown once, and nothing without rows."""
        rows = [SystemRow(*found) for found in evaluation.all(*self.roles)]
        cells = [(row.of_set.title, *map(row.cell, self.columns.values())) for row in rows if self.shows(row)]
        return section(self.text, ["set", *self.columns], dict.fromkeys(cells))


def section(text: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a text with a table below it; columns without values are left out, and everything without rows."""
    table = [list(row) for row in rows]
    if not table:
        return ""
    kept = [place for place in range(len(header)) if any(row[place] for row in table)]
    lines = ["| " + " | ".join(row[place] for place in kept) + " |" for row in (list(header), *table)]
    return "\n".join([text, "", lines[0], "|" + "---|" * len(kept), *lines[1:]])


def _system_name(row: SystemRow) -> str:
    return row.system.name


def _question_count(row: SystemRow) -> str:
    return str(row.figures.questions)


def _outcome(kind: Outcome) -> Cell:
    def cell(row: SystemRow) -> str:
        count = row.figures.outcomes.get(kind, 0)
        return f"{count / row.figures.questions:.1%} ({count})" if count else ""

    return cell


def _most_lost(row: SystemRow) -> str:
    lost = {kind: count for kind, count in row.figures.outcomes.items() if kind != "right"}
    return max(lost, key=lambda kind: lost[kind], default="")


def _metrics(*names: str) -> dict[str, str]:
    return {name: name for name in names}


def _number(value: float | None, form: str = ".3f") -> str:
    return "" if value is None else f"{value:{form}}"


def _seconds(step: str) -> Cell:
    def cell(row: SystemRow) -> str:
        typical, slow = (getattr(times, step) for times in (row.figures.times.median, row.figures.times.p90))
        return "" if typical is None else f"{typical:.3f} ({slow:.3f})"

    return cell


def _first_answer_metric(row: SystemRow) -> str:
    name = next((name for name in ANSWER_METRICS if name in row.figures.figures), "")
    return f"{name} {row.shown(name)}" if name else ""


TABLES = (
    ReportTable(
        "## First stages\n\n"
        "Retrieval alone. R@k is the share of the gold passages among the first k; all-gold@5 the share of questions "
        "with all of them among the first five; hit@1 with one of them first; answer-recall@k with an answer in one of "
        "the first k. If a set's questions bring their own candidates, only these are ordered.",
        ("first stage", "compared"),
        {
            "first stage": lambda row: row.first_stage,
            "candidates": lambda row: "all" if row.system.role == "first stage" else f"N = {row.system.n}",
            "questions": _question_count,
            **{name: lambda row, name=name: row.before(name) for name in RANKING_METRICS},  # type: ignore[misc]
        },
        lambda row: bool(row.figures.first),
    ),
    ReportTable(
        "## Reranking\n\n"
        "The same candidates in the first stage's order and in the ranker's, by each set's metric. Reachable is the "
        "metric of a perfect order. Gap closed is (reranked - before) / (reachable - before): 0 is the first stage, 1 "
        "a perfect order, and below 0 the ranker does harm.",
        ("compared", "order"),
        {
            "system": _system_name,
            "first stage": lambda row: row.of_set.first_stage or row.system.first_stage,
            "metric": lambda row: row.of_set.metric,
            "before": lambda row: row.before(row.of_set.metric),
            "reranked": lambda row: row.shown(row.of_set.metric),
            "reachable": lambda row: _number(row.figures.reachable),
            "gap closed": lambda row: str(row.figures.gap or ""),
        },
        lambda row: row.system.ranks and row.of_set.metric in row.figures.first,
    ),
    ReportTable(
        "### All metrics of the reranked order",
        ("compared", "order"),
        {"system": _system_name, **_metrics(*RANKING_METRICS)},
        lambda row: row.system.ranks and bool(row.figures.first),
    ),
    ReportTable(
        "## Answers\n\n"
        "EM and F1 are scored as SQuAD does. Acc: the reply contains an answer, letter for letter. ChatRAG F1 splits "
        "words at punctuation. MIRAGE accuracy takes A if no letter is found, strict counts that as wrong, and parsed "
        "is the share with a letter. A question that was refused or failed counts as wrong.",
        ("compared",),
        {"system": _system_name, "questions": _question_count, **_metrics(*ANSWER_METRICS, "refused")},
        lambda row: "refused" in row.figures.figures,
    ),
    ReportTable(
        "## Reading\n\n"
        "The model gets the gold passage: alone; among BM25's four best others, shuffled; and as the best k of these "
        "five in its own order.",
        ("reading",),
        {"system": _system_name, "questions": _question_count, **_metrics("EM", "F1")},
    ),
    ReportTable(
        "## Citations\n\n"
        "Precision is the share of citations that name a gold passage, over the answers that cite. Recall is the share "
        "of the gold passages that are cited, and first the share of questions whose first citation is gold, over all "
        "questions: a refusal counts as 0. The last column is the precision of always citing the first passage.",
        ("compared", "reading"),
        {
            "system": _system_name,
            "precision": "citation precision",
            "recall": "citation recall",
            "first": "first citation gold",
            "always [1]": "always [1]",
        },
        lambda row: "citation recall" in row.figures.figures,
    ),
    ReportTable(
        "## Refusals\n\n"
        "How often no answer is given: because no passage reaches the threshold (withheld), or because the reply says "
        "so. High is right for unanswerable questions, low for all others. The look-alike is the passage that only "
        "seems to answer an unanswerable question; the last column counts those questions where it was retrieved.",
        ("compared",),
        {
            "answerable": lambda row: "no" if row.of_set.unanswerable else "yes",
            "system": _system_name,
            **_metrics("refused", "withheld", "look-alike found"),
            "of these refused": "refused despite look-alike",
        },
        lambda row: "refused" in row.figures.figures and not row.system.closed_book,
    ),
    ReportTable(
        "## Calibration\n\n"
        "ECE is how far P(True) of the passages is from the share of them that is gold, on average over ten bins; it "
        "looks worse on a set that does not name all its relevant passages. Wrong is the share of wrong answers if all "
        "are given. AURC is that share if only the surest are given, by the best P(True), averaged over all shares of "
        "questions answered: the further below wrong, the more abstaining helps.",
        ("compared",),
        {
            "system": _system_name,
            "passages": lambda row: f"{row.figures.calibration.passages:,}",
            "ECE": lambda row: _number(row.figures.calibration.ece),
            "answers": lambda row: f"{row.figures.calibration.answers:,}",
            "wrong": lambda row: _number(row.figures.calibration.wrong),
            "AURC": lambda row: _number(row.figures.calibration.aurc),
        },
        lambda row: bool(row.figures.calibration.passages or row.figures.calibration.answers),
    ),
    ReportTable(
        "## Judging fewer passages\n\n"
        "`settled_from` judges five candidates at a time, in the first stage's order, until the k-th best reaches this "
        "log-odds. Judged is the mean number of passages, gold read the share of the gold passages among the k that "
        "are read, and same the share of questions that read the same passages as when all are judged.",
        ("stopping",),
        {
            "stops at": lambda row: (
                "all are judged" if row.system.settled_from is None else str(row.system.settled_from)
            ),
            "judged": lambda row: f"{row.figures.figures['judged'].mean:.1f} of {row.system.n}",
            "gold read": "gold read",
            "same": lambda row: _number(row.figures.same_contexts, ".2f"),
            "answers": _first_answer_metric,
        },
    ),
    ReportTable(
        "## Error analysis\n\n"
        "The outcome of every question: right, or the first step that lost it. The shares of a row add up to all its "
        "questions; the last column names the step that loses most of them.\n\n"
        + "\n".join(f"- **{kind}**: {meaning}" for kind, meaning in OUTCOMES.items()),
        ("compared",),
        {
            "system": _system_name,
            "questions": _question_count,
            **{kind: _outcome(kind) for kind in OUTCOMES},
            "most are lost as": _most_lost,
        },
    ),
    ReportTable(
        "## Time\n\n"
        "Seconds for a typical question, the median, and in brackets the 90th percentile: its retrieval (t1), judging "
        "one passage (t2), its answer (t3); both in batches. N · t2 / (t1 + t3) is what reranking adds "
        "(paper, section 5.5: 0.9 to 6.0 times for N = 20 to 100).",
        ("compared",),
        {
            "system": _system_name,
            **{step: _seconds(step) for step in ("t1", "t2", "t3")},
            "N·t2/(t1+t3)": lambda row: _number(row.figures.cost, ".1f"),
        },
        lambda row: any(_seconds(step)(row) for step in ("t1", "t2", "t3")),
    ),
)
"""The tables of the report, in their order."""
