"""One system on one set: its questions go through the steps of the pipeline, each step for all of them at once.

The steps are those of `RankRAG.stream`: find candidates, judge, decide, write, cite. What models say in them is kept in
journals (`work`), which systems share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rankrag.contract import Contract
from rankrag.data.sets import Judged, TestSet
from rankrag.evaluation.description import SetDescription
from rankrag.evaluation.first_stage import FirstStage
from rankrag.evaluation.lines import Ids, Seconds
from rankrag.evaluation.standard import OTHERS
from rankrag.evaluation.systems import GIVEN, System
from rankrag.evaluation.work import JudgingWork, ModelWork, NearnessWork, with_cosines
from rankrag.generate import is_refusal
from rankrag.rerank import BLOCK, NEVER, Decision, Judgement, bound_of, decide, settled
from rankrag.types import ScoredPassage


@dataclass(frozen=True, slots=True)
class PreparedSet:
    """A set that has been read, and its folder in the run; `sample` are the questions that models see."""

    test_set: TestSet
    sample: tuple[Judged, ...]
    first_stage: FirstStage
    described: SetDescription
    folder: Path
    seed: int

    def questions(self, system: System) -> tuple[Judged, ...]:
        """Return the questions that a system is asked: retrievers alone get all of the set."""
        if system.role == "first stage":
            return self.test_set.questions
        if system.retriever in GIVEN:  # a frozen run may lack a gold passage
            return tuple(q for q in self.sample if q.gold and q.gold[0] in self.test_set.passages)
        return self.sample


@dataclass(frozen=True, slots=True)
class SystemParts:
    """What ranks and what answers a set in one system.

    `contract` is what decides (`rerank.decide`); `probabilities` says whether judgements are P(True), and `ranked_by`
    names the ranker if it is not the model that answers.
    """

    judging: JudgingWork | None
    answering: ModelWork | None
    contract: Contract
    nearness: NearnessWork | None = None
    probabilities: bool = True
    ranked_by: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """What a system did with one question; `reply` is None if the answer was withheld or nothing is answered."""

    judged: Judged
    retrieved: Ids
    decision: Decision
    withheld: bool = False
    reply: str | None = None
    cited: tuple[int, ...] | None = None
    seconds: Seconds = field(default_factory=Seconds)
    error: str | None = None

    @property
    def contexts(self) -> Ids:
        """Ids of the passages that were answered from."""
        return tuple(c.passage.id for c in self.decision.contexts)


def run_system(system: System, prepared: PreparedSet, parts: SystemParts) -> list[Trace]:
    """Return what a system does with each of its questions on a set, in their order."""
    questions = prepared.questions(system)
    retrieved = candidates(system, prepared, questions)
    judgements = _judgements(system, parts, questions, retrieved)
    passages, k = prepared.test_set.passages, system.depth(parts.contract)
    decisions = {}
    for judged in questions:
        name = judged.question.id
        ranking = tuple(ScoredPassage(passages[i], -float(rank)) for rank, i in enumerate(retrieved[name]))
        decisions[name] = decide(ranking, judgements.get(name, ()), parts.contract, k)
    answers = parts.answering if prepared.test_set.benchmark.style is not None else None
    withheld = {name for name, d in decisions.items() if answers and d.withheld and not system.closed_book}
    contexts = {name: tuple(c.passage.id for c in d.contexts) for name, d in decisions.items()}
    replies = _replies(
        answers, [(q, contexts[q.question.id]) for q in questions if q.question.id not in withheld], system
    )
    cited = _cited(answers, parts, replies, questions, decisions) if system.cites else {}
    searched = _search_seconds(system, prepared)
    failures = (parts.judging.failures if parts.judging else {}) | (answers.failures if answers else {})
    traces = []
    for judged in questions:
        name = judged.question.id
        seconds = Seconds(
            searched.get(name),
            parts.judging.seconds(name, retrieved[name]) if parts.judging else None,
            answers.seconds(name, contexts[name]) if answers else None,
        )
        decision = decisions[name]
        said = (name in withheld, replies.get(name), cited.get(name, () if answers and system.cites else None))
        traces.append(Trace(judged, retrieved[name], decision, *said, seconds=seconds, error=failures.get(name)))
    return traces


def candidates(system: System, prepared: PreparedSet, questions: Sequence[Judged]) -> dict[str, Ids]:
    """Return the N candidates of each question, by its id."""
    stage, history = prepared.first_stage, system.history_query or "last"
    if system.closed_book:
        return {judged.question.id: () for judged in questions}
    if system.retriever == "gold":
        return {judged.question.id: judged.gold[:1] for judged in questions}
    if system.retriever == "five":
        return {q.question.id: stage.among_five(q, OTHERS, history, prepared.seed) for q in questions}
    found = stage.ids(system.retriever, history, system.encoder)
    return {judged.question.id: found[judged.question.id][: system.n] for judged in questions}


def _judgements(
    system: System, parts: SystemParts, questions: Sequence[Judged], retrieved: Mapping[str, Ids]
) -> dict[str, tuple[Judgement, ...]]:
    """Return the judgements of each question's first candidates, of all of them unless judging stops early."""
    if parts.judging is None:
        return {}
    wanted = [(judged, retrieved[judged.question.id]) for judged in questions]
    bound = NEVER if system.settled_from is None else bound_of(parts.contract, system.settled_from)
    if bound != NEVER:
        wanted = _until_settled(parts.judging, wanted, system.depth(parts.contract), bound)
    found = parts.judging.judgements(wanted)
    if parts.nearness:
        cosines, weight = parts.nearness.cosines(wanted), parts.nearness.nearness.weight
        found = {name: with_cosines(own, cosines.get(name, {}), weight) for name, own in found.items()}
    return {judged.question.id: tuple(found[judged.question.id][i] for i in ids) for judged, ids in wanted}


def _until_settled(
    judging: JudgingWork, wanted: Sequence[tuple[Judged, Ids]], k: int, bound: float
) -> list[tuple[Judged, Ids]]:
    """Judge block by block until the k-th best passage reaches `bound`; return the candidates that were judged."""
    counts = {judged.question.id: 0 for judged, _ in wanted}
    going = list(wanted)
    while going:
        for judged, ids in going:
            counts[judged.question.id] = min(counts[judged.question.id] + BLOCK, len(ids))
        found = judging.judgements([(judged, ids[: counts[judged.question.id]]) for judged, ids in going])
        going = [
            (judged, ids)
            for judged, ids in going
            if counts[judged.question.id] < len(ids)
            and not settled([j.log_odds for j in found[judged.question.id].values()], k, bound)
        ]
    return [(judged, ids[: counts[judged.question.id]]) for judged, ids in wanted]


def _replies(answers: ModelWork | None, wanted: Sequence[tuple[Judged, Ids]], system: System) -> dict[str, str]:
    if answers is None:
        return {}
    said = answers.replies(wanted, closed_book=system.closed_book)
    return {judged.question.id: reply for (judged, _), reply in zip(wanted, said, strict=True)}


def _cited(
    answers: ModelWork | None,
    parts: SystemParts,
    replies: Mapping[str, str],
    questions: Sequence[Judged],
    decisions: Mapping[str, Decision],
) -> dict[str, tuple[int, ...]]:
    """Return the places of the cited passages of each answer; a refusal cites nothing."""
    if answers is None:
        return {}
    names = {name for name, reply in replies.items() if not is_refusal(reply)}
    wanted = [
        (judged, tuple(c.passage.id for c in decisions[judged.question.id].contexts))
        for judged in questions
        if judged.question.id in names
    ]
    relevance = {name: decisions[name].relevance for name in names}
    found = answers.cited(wanted, relevance, parts.ranked_by)
    return {judged.question.id: places for (judged, _), places in zip(wanted, found, strict=True)}


def _search_seconds(system: System, prepared: PreparedSet) -> Mapping[str, float]:
    if system.closed_book or system.retriever in GIVEN:
        return {}
    return prepared.first_stage.seconds(system.retriever, system.history_query or "last", system.encoder)
