"""Our figures beside those of the paper, and in what they differ from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from experiments.paper.numbers import PaperTable, paper_numbers
from rankrag.data.catalogue import BENCHMARKS, PAPER
from rankrag.data.sets import PaperSetting
from rankrag.evaluation.aggregate import Evaluation, SystemFigures
from rankrag.evaluation.description import SetDescription
from rankrag.evaluation.statistics import Interval
from rankrag.evaluation.systems import ENCODERS, N_OF_70B, System
from rankrag.evaluation.tables import section

OURS_FOR = {
    "EM": ("EM",),
    "Acc": ("FEVER accuracy", "MIRAGE accuracy", "Acc"),
    "F1": ("ChatRAG F1", "F1"),
    "R@5": ("answer-recall@5",),
    "R@10": ("answer-recall@10",),
    "R@20": ("answer-recall@20",),
}
"""Our names for each metric of the paper; the first one that was measured counts."""

COLUMNS = {
    "NQ": ("nq-kilt", "nq-dpr", "nq"),
    "TriviaQA": ("triviaqa-kilt", "triviaqa-dpr"),
    "PopQA": ("popqa-longtail", "popqa"),
    "HotpotQA": ("hotpotqa-kilt", "hotpotqa"),
    "2WikimQA": ("2wikimqa", "2wiki"),
    "FEVER": ("fever-kilt", "fever_symmetric"),
    "Doc2Dial": ("doc2dial-chatrag", "doc2dial"),
    "TopiOCQA": ("topiocqa-chatrag", "topiocqa"),
    "Inscit": ("inscit-chatrag", "inscit"),
    "MMLU-med": ("mmlu-med",),
    "MedQA": ("medqa-us",),
    "MedMCQA": ("medmcqa",),
    "PubMedQA": ("pubmedqa-star", "pubmedqa"),
    "BioASQ": ("bioasq-yn",),
}
"""Our sets with the task of each column of the paper; other differences are named beside every number."""


@dataclass(frozen=True, slots=True)
class Beside:
    """One figure of ours beside one of a model in the paper, as percentages, and in what the measurements differ."""

    benchmark: str
    system: str
    model: str
    metric: str
    ours: Interval
    paper: float
    differs: tuple[str, ...]

    @property
    def difference(self) -> Interval | None:
        """Ours minus the paper's, in points, with our interval; None if the measurements differ."""
        if self.differs:
            return None
        return Interval(*(100 * x - self.paper for x in (self.ours.mean, self.ours.low, self.ours.high)))


def beside_the_paper(evaluation: Evaluation) -> list[Beside]:
    """Return every figure of ours that the paper prints too.

    It is compared with the model of 8B; a system with `setting: paper-70b` is compared with that of 70B.
    """
    found = []
    for described, system, figures in measured(evaluation):
        table = _table_of(described)
        if table is None:
            continue
        column = column_of(described.name)
        model = "RankRAG 70B" if system.setting == "paper-70b" else "RankRAG 8B"
        one = partial(
            Beside,
            benchmark=described.name,
            system=system.name,
            model=model,
            differs=differences(described, system),
        )
        for metric in next(c.metrics for c in table.columns if c.name == column):
            ours, paper = ours_of(figures, metric), table.value(model, column, metric)
            if ours is not None and paper is not None:
                found.append(one(metric=metric, ours=ours, paper=paper))
    return found


def measured(evaluation: Evaluation) -> list[tuple[SetDescription, System, SystemFigures]]:
    """Return each set with every system that is compared on it, as configured, and its figures, set by set."""
    by_name = {system.name: system for system in evaluation.description.systems}
    return [(found.of_set, by_name[found.system.name], found) for found in evaluation.all("compared")]


def column_of(benchmark: str) -> str:
    """Return the paper's column for a set; "" if it has none."""
    return next((column for column, sets in COLUMNS.items() if benchmark in sets), "")


def ours_of(figures: SystemFigures, metric: str, *, first: bool = False) -> Interval | None:
    """Return our figure for a metric of the paper; None if it was not measured."""
    own = figures.first if first else figures.figures
    return next((own[name] for name in OURS_FOR.get(metric, ()) if name in own), None)


def differences(described: SetDescription, system: System) -> tuple[str, ...]:
    """Return in words everything that is not as in the paper; if there is nothing, the numbers may be compared."""
    paper = setting_of(described.name)
    if paper is None:
        return ("the paper does not have this set",)
    own = system.on(described.paper)
    return (
        *_of_the_set(described, paper),
        *_of_the_search(described, own, paper, system.history_query or "last"),
        *_of_the_system(described, own, paper, N_OF_70B if system.setting == "paper-70b" else paper.n),
    )


def setting_of(benchmark: str) -> PaperSetting | None:
    """Return how the paper measured a set; for a set of ours, how it measured the set in the same column."""
    known = BENCHMARKS.get(benchmark)
    if known is not None and known.paper is not None:
        return known.paper
    column = column_of(benchmark)
    return next((b.paper for b in PAPER if column and column_of(b.name) == column), None)


def points(value: Interval) -> str:
    """Return an interval of shares in points, with one decimal."""
    return f"{100 * value.mean:.1f} [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def beside_section(evaluation: Evaluation) -> str:
    """Return a Markdown section with every figure beside the paper's; without one, a sentence."""
    text = (
        "## Beside the paper\n\n"
        "Percentages as printed. A difference is given only if split, corpus, N, k and first stage are those of the "
        "paper; otherwise the last column says what differs (the paper's value in brackets). The interval is ours: the "
        "paper prints none."
    )
    rows = [
        [
            BENCHMARKS[b.benchmark].title if b.benchmark in BENCHMARKS else b.benchmark,
            b.system,
            f"{b.model}: {b.metric}",
            points(b.ours),
            f"{b.paper:g}",
            "" if (d := b.difference) is None else f"{d.mean:+.1f} [{d.low:+.1f}, {d.high:+.1f}]",
            "; ".join(b.differs),
        ]
        for b in beside_the_paper(evaluation)
    ]
    header = ["set", "system", "metric", "ours", "paper", "difference", "what differs"]
    return section(text, header, rows) or f"{text}\n\nThis run has no figure that the paper prints."


def _of_the_set(described: SetDescription, paper: PaperSetting) -> Iterator[str]:
    whole = paper.actual or paper.size
    if described.split != paper.split:
        yield f"split: {described.split} ({paper.split})"
    if len(described.questions) != whole:
        yield f"{len(described.questions):,} questions ({whole:,})"
    if described.unranked:
        yield f"no passage for {described.unranked:,} questions"
    if described.corpus != paper.corpus:
        yield f"corpus: {described.corpus} ({paper.corpus})"


def _of_the_search(described: SetDescription, own: System, paper: PaperSetting, history: str) -> Iterator[str]:
    first_stage = described.first_stage or own.first_stage
    if first_stage != f"dense by {ENCODERS[paper.retriever]}":
        yield f"first stage: {first_stage} ({paper.retriever})"
    frozen = described.origin.history if described.origin else paper.history
    searched = frozen if described.first_stage else history
    if described.style == "conversation" and searched != paper.history:
        yield f"searched by turns: {searched} ({paper.history})"


def _of_the_system(described: SetDescription, own: System, paper: PaperSetting, n: int) -> Iterator[str]:
    reranked = min(own.n, described.origin.depth) if described.origin else own.n
    if reranked != n:
        yield f"N = {reranked} ({n})"
    if own.k != paper.k:
        yield f"k = {own.k} ({paper.k})"
    if own.ranked_by[0] == "model" and own.similarity:
        yield "final order: as fitted (P(True) alone; similarity: false)"
    if own.ranked_by[0] == "model" and own.abstain and own.model != "none":
        yield "answers withheld below the threshold (none; abstain: false)"


def _table_of(described: SetDescription) -> PaperTable | None:
    """Return the table with the main results of a set; DPR's splits have their own."""
    tables, column = paper_numbers().tables, column_of(described.name)
    for name in ("table9",) if described.split == "DPR test" else ("table2", "table5"):
        if any(c.name == column for c in tables[name].columns):
            return tables[name]
    return None
