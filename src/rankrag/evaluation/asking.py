"""One system on one set: what it ranks and answers, as one line for each question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rankrag.contract import HistoryQuery
from rankrag.data.sets import Judged, TestSet
from rankrag.evaluation.description import SetDescription
from rankrag.evaluation.first_stage import FirstStages, search_seconds
from rankrag.evaluation.measuring import Rankings
from rankrag.evaluation.nearness import NearnessWork
from rankrag.evaluation.questions import (
    QuestionResult,
    Seconds,
    Told,
    final_order,
    results,
    save_passages,
    save_results,
)
from rankrag.evaluation.systems import NOTHING, System
from rankrag.evaluation.work import Judgements, JudgingWork, ModelWork


@dataclass(frozen=True, slots=True)
class Prepared:
    """A set that has been read and searched; `encoder` is the name of what made the vectors."""

    test_set: TestSet
    questions: tuple[Judged, ...]
    stages: FirstStages
    described: SetDescription
    folder: Path
    encoder: str | None = None


@dataclass(frozen=True, slots=True)
class Parts:
    """What ranks and what answers a set in one system, with the values of the ranker's contract."""

    judging: JudgingWork | None
    answering: ModelWork | None
    nearness: NearnessWork | None = None
    abstain_below: float | None = None


def keep_lines(system: System, of: Prepared, parts: Parts, history: HistoryQuery) -> list[QuestionResult]:
    """Measure a system on a set; write its lines and the passages they name into the set's folder, and return them."""
    rows = measured(system, of, parts, history)
    save_passages(of.folder, rows, of.test_set.passages)
    save_results(of.folder / system.folder, rows)
    return rows


def measured(system: System, of: Prepared, parts: Parts, history: HistoryQuery) -> list[QuestionResult]:
    """Return one row for each question of a set."""
    searched = of.test_set.benchmark.searched_by(history)
    closed_book = system.retriever == NOTHING
    retrieved: Rankings = {q.question.id: () for q in of.questions}
    t1: Mapping[str, float] = {}
    if not closed_book:
        found = of.stages[system.retriever, searched]
        retrieved = {q.question.id: found[q.question.id][: system.n] for q in of.questions}
        t1 = search_seconds(of.folder, system.retriever, searched, of.encoder)
    wanted = [(q, retrieved[q.question.id]) for q in of.questions]
    judged = parts.judging.judgements(wanted) if parts.judging else None
    if judged is not None and parts.nearness:
        judged = parts.nearness.added(judged, wanted)
    told = _told(system, of, parts, retrieved, judged, t1)
    return results(
        of.test_set,
        of.questions,
        system.name,
        retrieved,
        judged,
        told,
        k=system.k,
        probabilities=system.ranked_by[0] != "bi-encoder",
        answers=parts.answering is not None,
        closed_book=closed_book,
    )


def _told(
    system: System,
    of: Prepared,
    parts: Parts,
    retrieved: Rankings,
    judged: Judgements | None,
    t1: Mapping[str, float],
) -> dict[str, Told]:
    """Ask for the replies that are not withheld; return what every question was told."""
    contexts, withheld = {}, set()
    for q in of.questions:
        name = q.question.id
        own = None if judged is None else judged[name]
        contexts[name] = final_order(retrieved[name], own)[: system.k]
        best = max((j.log_odds for j in own.values()), default=float("-inf")) if own is not None else 0.0
        if parts.abstain_below is not None and best < parts.abstain_below:
            withheld.add(name)
    work = parts.answering if of.test_set.benchmark.style is not None else None
    asked = [q for q in of.questions if q.question.id not in withheld] if work else []
    replies: dict[str, str] = {}
    if work:
        wanted = [(q, contexts[q.question.id]) for q in asked]
        said = work.replies(wanted, closed_book=system.retriever == NOTHING)
        replies = {q.question.id: reply for q, reply in zip(asked, said, strict=True)}
    failures = (parts.judging.failures if parts.judging else {}) | (work.failures if work else {})
    return {
        name: Told(
            replies.get(name),
            Seconds(
                t1.get(name),
                parts.judging.seconds(name) if parts.judging else None,
                work.seconds(name, ids) if work else None,
            ),
            failures.get(name),
        )
        for name, ids in contexts.items()
    }
