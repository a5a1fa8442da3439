"""One system on one set: its questions go through the steps of the pipeline, each step for all of them at once.

The steps are those of `RankRAG.stream`: find candidates, judge, decide, write, cite. What models say in them is kept in
journals (`work`), which systems share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rankrag.contract import Contract
from rankrag.data.sets import Judged, TestSet
from rankrag.evaluation.description import SetDescription
from rankrag.evaluation.first_stage import FirstStage, Found
from rankrag.evaluation.line_metrics import with_scores
from rankrag.evaluation.lines import Ids, QuestionLine, Seconds
from rankrag.evaluation.standard import OTHERS
from rankrag.evaluation.systems import GIVEN, System
from rankrag.evaluation.work import JudgingWork, ModelWork, NearnessWork, with_cosines
from rankrag.generate import is_refusal
from rankrag.rerank import BLOCK, NEVER, Decision, Judgement, bound_of, decide, settled
from rankrag.types import Ranking, ScoredPassage


@dataclass(frozen=True, slots=True)
class PreparedSet:
    """A set that has been read; `sample` are the questions that models see."""

    test_set: TestSet
    sample: tuple[Judged, ...]
    first_stage: FirstStage
    described: SetDescription
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


def run_system(system: System, prepared: PreparedSet, parts: SystemParts) -> list[QuestionLine]:
    """Return the lines of a system on a set, one for each of its questions, in their order."""
    questions = prepared.questions(system)
    found = candidates(system, prepared, questions)
    decisions = _decisions(system, prepared, parts, [(judged, found[judged.question.id][0]) for judged in questions])
    answers = parts.answering if prepared.test_set.benchmark.style is not None else None
    replies, cited = _answered(system, answers, parts.ranked_by, questions, decisions) if answers else ({}, {})
    failures = (parts.judging.failures if parts.judging else {}) | (answers.failures if answers else {})
    lines = []
    for judged in questions:
        question, decision = judged.question, decisions[judged.question.id]
        (ids, searched), contexts, order = found[question.id], _ids(decision.contexts), _ids(decision.ranking)
        relevance = decision.relevance if parts.probabilities else {}
        line = QuestionLine(
            benchmark=prepared.test_set.benchmark.name,
            system=system.name,
            id=question.id,
            question=question.text,
            history=tuple(f"{m.role}: {m.content}" for m in question.history),
            gold_answers=question.answers,
            gold=judged.gold,
            retrieved=ids,
            reranked=order,
            p_true=tuple(round(relevance[i], 6) if i in relevance else None for i in order),
            contexts=contexts,
            answer=replies.get(question.id),
            outcome="failed",
            metrics={},
            first={},
            seconds=Seconds(
                searched,
                parts.judging.seconds(question.id, tuple(decision.relevance)) if parts.judging else None,
                answers.seconds(question.id, contexts) if answers and question.id in replies else None,
            ),
            error=failures.get(question.id),
            withheld=answers is not None and question.id not in replies,
            cited=cited.get(question.id, () if answers and system.cites else None),
        )
        lines.append(with_scores(line, system, prepared.test_set, judged))
    return lines


def candidates(system: System, prepared: PreparedSet, questions: Sequence[Judged]) -> Mapping[str, Found]:
    """Return the N candidates of each question, by its id; two rounds find up to twice as many."""
    stage, history = prepared.first_stage, system.history_query or "last"
    if system.closed_book:
        return {judged.question.id: ((), None) for judged in questions}
    if system.retriever == "gold":
        return {judged.question.id: (judged.gold[:1], None) for judged in questions}
    if system.retriever == "five":
        return {q.question.id: (stage.among_five(q, OTHERS, history, prepared.seed), None) for q in questions}
    found = stage.found(system.retriever, history, system.encoder)
    cut = {judged.question.id: found[judged.question.id] for judged in questions}
    first = {name: (ids[: system.n], seconds) for name, (ids, seconds) in cut.items()}
    return stage.again(first, system.n, system.rounds, system.retriever, system.encoder)


def _ids(ranking: Ranking) -> Ids:
    return tuple(c.passage.id for c in ranking)


def _decisions(
    system: System, prepared: PreparedSet, parts: SystemParts, wanted: Sequence[tuple[Judged, Ids]]
) -> dict[str, Decision]:
    """Return what each question's candidates are decided to be, by its id."""
    judgements = _judgements(system, parts, wanted)
    passages, k, found = prepared.test_set.passages, system.depth(parts.contract), {}
    for judged, ids in wanted:
        ranking = tuple(ScoredPassage(passages[i], -float(rank)) for rank, i in enumerate(ids))
        found[judged.question.id] = decide(ranking, judgements.get(judged.question.id, ()), parts.contract, k)
    return found


def _judgements(
    system: System, parts: SystemParts, wanted: Sequence[tuple[Judged, Ids]]
) -> dict[str, tuple[Judgement, ...]]:
    """Return the judgements of each question's first candidates, of all of them unless judging stops early."""
    if parts.judging is None:
        return {}
    bound = bound_of(parts.contract, system.settled_from, system.depth(parts.contract))
    if bound != NEVER:
        wanted = _until_settled(parts.judging, wanted, bound)
    found = parts.judging.judgements(wanted)
    if parts.nearness:
        cosines, weight = parts.nearness.cosines(wanted), parts.nearness.nearness.weight
        found = {name: with_cosines(own, cosines.get(name, {}), weight) for name, own in found.items()}
    return {judged.question.id: tuple(found[judged.question.id][i] for i in ids) for judged, ids in wanted}


def _until_settled(
    judging: JudgingWork, wanted: Sequence[tuple[Judged, Ids]], bound: float
) -> list[tuple[Judged, Ids]]:
    """Judge block by block until a passage reaches `bound`; return the candidates that were judged."""
    counts: dict[str, int] = {}
    going, count = list(wanted), 0
    while going:
        count += BLOCK  # all that still go on have been judged as far
        counts |= {judged.question.id: count for judged, _ in going}
        found = judging.judgements([(judged, ids[:count]) for judged, ids in going])
        going = [
            (judged, ids)
            for judged, ids in going
            if count < len(ids) and not settled([j.log_odds for j in found[judged.question.id].values()], bound)
        ]
    return [(judged, ids[: counts[judged.question.id]]) for judged, ids in wanted]


def _answered(
    system: System,
    answers: ModelWork,
    ranked_by: str,
    questions: Sequence[Judged],
    decisions: Mapping[str, Decision],
) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """Return the replies by question id, without those that are withheld, and the places of the passages they cite.

    A refusal cites nothing.
    """
    asked = [
        (judged, _ids(decisions[judged.question.id].contexts))
        for judged in questions
        if system.closed_book or not decisions[judged.question.id].withheld
    ]
    said = answers.replies(asked, closed_book=system.closed_book)
    replies = {judged.question.id: reply for (judged, _), reply in zip(asked, said, strict=True)}
    if not system.cites:
        return replies, {}
    citing = [(judged, ids) for judged, ids in asked if not is_refusal(replies[judged.question.id])]
    relevance = {judged.question.id: decisions[judged.question.id].relevance for judged, _ in citing}
    found = answers.cited(citing, relevance, ranked_by)
    return replies, {judged.question.id: places for (judged, _), places in zip(citing, found, strict=True)}
