"""Our figures beside the paper's: what keeps them from being compared, and its tables with rows of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rankrag.data.catalogue import BENCHMARKS, PAPER
from rankrag.data.sets import PaperSetting
from rankrag.evaluation.aggregate import Evaluation, SystemFigures
from rankrag.evaluation.description import SetDescription
from rankrag.evaluation.paper import Column, PaperTable, paper_numbers, paper_table
from rankrag.evaluation.statistics import Interval
from rankrag.evaluation.systems import ENCODERS, N_OF_70B, System

OURS_FOR = {
    "EM": ("EM",),
    "Acc": ("FEVER accuracy", "MIRAGE accuracy", "Acc"),
    "F1": ("ChatRAG F1", "F1"),
    "R@5": ("answer-recall@5",),
    "R@10": ("answer-recall@10",),
    "R@20": ("answer-recall@20",),
}
"""Names that a metric of the paper has here; the first one that was measured is taken."""

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
"""Our sets that do the task of a column of the paper; what else is not the same is said beside every number."""


@dataclass(frozen=True, slots=True)
class Beside:
    """One figure of ours beside a model of the paper: percentages, and what keeps them from being compared."""

    benchmark: str
    system: str
    model: str
    column: str
    metric: str
    ours: Interval
    paper: float
    differs: tuple[str, ...]

    @property
    def difference(self) -> Interval | None:
        """Ours less the paper's, in points, with the interval of ours; None where something differs."""
        if self.differs:
            return None
        return Interval(*(100 * x - self.paper for x in (self.ours.mean, self.ours.low, self.ours.high)))


def beside_the_paper(comparison: Evaluation) -> list[Beside]:
    """Return every figure of ours that the paper prints too, with what differs.

    The paper's model is the one of 8B, for a system with `setting: paper-70b` that of 70B.
    """
    found = []
    for of in comparison.description.sets:
        for system in comparison.description.systems:
            figures = comparison.of(of.name, system.name)
            table, column = _table_of(of), column_of(of.name)
            if figures is None or table is None:
                continue
            differs = differences(of, system, system.history_query or comparison.description.history)
            model = "RankRAG 70B" if system.setting == "paper-70b" else "RankRAG 8B"
            for metric in next(c.metrics for c in table.columns if c.name == column):
                ours, paper = ours_of(figures, metric), table.value(model, column, metric)
                if ours is not None and paper is not None:
                    found.append(Beside(of.name, system.name, model, column, metric, ours, paper, differs))
    return found


def column_of(benchmark: str) -> str:
    """Return the paper's column of a set, "" where it has none."""
    return next((column for column, sets in COLUMNS.items() if benchmark in sets), "")


def ours_of(figures: SystemFigures, metric: str, *, first: bool = False) -> Interval | None:
    """Return our figure for a metric of the paper; None where it was not measured."""
    measured = figures.first if first else figures.figures
    return next((measured[name] for name in OURS_FOR.get(metric, ()) if name in measured), None)


def differences(of: SetDescription, system: System, history: str) -> tuple[str, ...]:
    """Return in words all that is not as in the paper; none means that the numbers may be compared.

    `history` is by which turns conversations were searched.
    """
    paper = setting_of(of.name)
    if paper is None:
        return ("the paper does not have this set",)
    found, own = [], system.on(of.paper)
    n = N_OF_70B if system.setting == "paper-70b" else paper.n
    if of.split != paper.split:
        found.append(f"split: {of.split} ({paper.split})")
    if len(of.questions) != (whole := paper.actual or paper.size):
        found.append(f"{len(of.questions):,} questions ({whole:,})")
    if of.unranked:
        found.append(f"no passage for {of.unranked:,} questions")
    if of.corpus != paper.corpus:
        found.append(f"corpus: {of.corpus} ({paper.corpus})")
    first_stage = of.first_stage or own.first_stage
    if first_stage != f"dense by {ENCODERS[paper.retriever]}":
        found.append(f"first stage: {first_stage} ({paper.retriever})")
    searched = (of.origin.history if of.origin else paper.history) if of.first_stage else history
    if of.style == "conversation" and searched != paper.history:
        found.append(f"searched by turns: {searched} ({paper.history})")
    reranked = min(own.n, of.origin.depth) if of.origin else own.n
    if reranked != n:
        found.append(f"N = {reranked} ({n})")
    if own.k != paper.k:
        found.append(f"k = {own.k} ({paper.k})")
    if own.ranked_by[0] == "model" and not own.pure:
        found.append("final order: as fitted (P(True) alone; pure: true)")
    if own.ranked_by[0] == "model" and own.abstain and own.model != "none":
        found.append("answers withheld below the threshold (none; abstain: false)")
    return tuple(found)


def setting_of(benchmark: str) -> PaperSetting | None:
    """Return how the paper measured a set, or the one of its own that bears the same name."""
    known = BENCHMARKS.get(benchmark)
    if known is not None and known.paper is not None:
        return known.paper
    column = column_of(benchmark)
    return next((b.paper for b in PAPER if column and column_of(b.name) == column), None)


def _table_of(of: SetDescription) -> PaperTable | None:
    """Return the table that holds a set's main results: DPR's splits have their own."""
    tables, column = paper_numbers().tables, column_of(of.name)
    for name in ("table9",) if of.split == "DPR test" else ("table2", "table5"):
        if any(c.name == column for c in tables[name].columns):
            return tables[name]
    return None


def render_table(name: str, comparisons: Sequence[Evaluation]) -> str:
    """Return a table of the paper as Markdown, with a row for each of our systems below it and what differs."""
    table = paper_table(name)
    ranking = table.columns[0].metrics[0].startswith("R@")
    header = ["", *(f"{c.name} {'/'.join(c.metrics)}" for c in table.columns)]
    rows, group = [], ""
    for row in table.rows:
        if row.group and row.group != group and not ranking:
            rows.append([f"*{row.group}*", *[""] * len(table.columns)])
        group = row.group
        marks = ["†" if row.cells.get(c.name) and table.known_error(row.model, c.name) else "" for c in table.columns]
        label = f"{row.model} ({row.group})" if ranking and row.group else row.model
        cells = [_cell(row.cells.get(c.name, ())) for c in table.columns]
        rows.append([label, *(cell + mark for cell, mark in zip(cells, marks, strict=True))])
    notes = [f"{name}: {'; '.join(found)}." for name, found in _what_differs(table, comparisons).items()]
    rows += _our_rows(table, comparisons, ranking=ranking)
    lines = [f"# {table.cell}: {table.title}", "", "| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    lines += [*(["", *(f"† {e.text}." for e in table.errors)] if table.errors else [])]
    lines += [*(["", *table.notes] if table.notes else [])]
    if notes:
        lines += ["", "What differs from the paper in our rows (the paper's in brackets):", ""]
        lines += [f"- {note}" for note in notes]
    return "\n".join(lines) + "\n"


def _our_rows(table: PaperTable, comparisons: Sequence[Evaluation], *, ranking: bool) -> list[list[str]]:
    rows = []
    for comparison in comparisons:
        for system in comparison.description.systems:
            for first in (True, False) if ranking else (False,):
                cells = [_ours(comparison, system, c, first=first) for c in table.columns]
                if any(cells):
                    searched = system.first_stage if system.setting == "own" else "first stage"
                    name = f"{system.name}, {searched} alone" if first else system.name
                    rows.append([f"**{name}** (ours)", *cells])
    return rows


def _ours(comparison: Evaluation, system: System, column: Column, *, first: bool) -> str:
    """Return our cell of a column; several sets of one column are told apart by their split."""
    cells = []
    sets = [of for of in comparison.description.sets if column_of(of.name) == column.name]
    for of in sets:
        figures = comparison.of(of.name, system.name)
        if figures is None:
            continue
        values = [ours_of(figures, metric, first=first) for metric in column.metrics]
        if any(value is not None for value in values):
            text = "/".join("-" if v is None else points(v) for v in values)
            cells.append(text if len(sets) == 1 else f"{text} ({of.title})")
    return ", ".join(cells)


def _what_differs(table: PaperTable, comparisons: Sequence[Evaluation]) -> dict[str, tuple[str, ...]]:
    found = {}
    wanted = {c.name for c in table.columns}
    for comparison in comparisons:
        for of in comparison.description.sets:
            for system in comparison.description.systems:
                figures = comparison.of(of.name, system.name)
                if figures is not None and column_of(of.name) in wanted:
                    differs = differences(of, system, system.history_query or comparison.description.history)
                    found[f"{of.title}, {system.name}"] = differs
    return {name: differs for name, differs in found.items() if differs}


def points(value: Interval) -> str:
    """Return an interval of shares in points, with one decimal."""
    return f"{100 * value.mean:.1f} [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def _cell(values: Sequence[float | None]) -> str:
    return "/".join("-" if value is None else _percent(value) for value in values)


def _percent(value: float) -> str:
    """Return a printed number as the paper prints it, and ours with one decimal."""
    return f"{value:.2f}" if value == round(value, 2) != round(value, 1) else f"{value:.1f}"
