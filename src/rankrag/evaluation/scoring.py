"""From what a system did with a question to its line: metrics, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping

from rankrag.data.sets import Judged, TestSet
from rankrag.evaluation.line_metrics import with_line_metrics
from rankrag.evaluation.lines import Ids, QuestionLine
from rankrag.evaluation.metrics import (
    answer_scores,
    exact_match,
    holds_answer,
    ranking_scores,
    reachable,
    token_f1,
)
from rankrag.evaluation.outcomes import Outcome, found_in, lost_by
from rankrag.evaluation.steps import Trace
from rankrag.evaluation.systems import System
from rankrag.generate import is_refusal
from rankrag.matching import contains_any
from rankrag.types import Passage, Question

ENOUGH_F1 = 0.5
"""Token F1 from which a long answer counts as right in the error analysis."""


def line_of(system: System, test_set: TestSet, trace: Trace, *, answers: bool, probabilities: bool) -> QuestionLine:
    """Return the line of a question.

    `answers` says whether the system answers this set, `probabilities` whether its ranker's judgements are P(True).
    """
    judged, question, benchmark = trace.judged, trace.judged.question, test_set.benchmark
    order = tuple(c.passage.id for c in trace.decision.ranking)
    ranked = not (system.closed_book or benchmark.unanswerable)
    first = ranking_scores(test_set, judged, trace.retrieved) if ranked else {}
    final = ranking_scores(test_set, judged, order) if ranked and order != trace.retrieved else dict(first)
    scored = answers and not benchmark.unanswerable
    scores = answer_scores(benchmark, trace.reply or "", question.answers, question.letters) if scored else {}
    line = QuestionLine(
        benchmark=benchmark.name,
        system=system.name,
        id=question.id,
        question=question.text,
        history=tuple(f"{m.role}: {m.content}" for m in question.history),
        gold_answers=question.answers,
        gold=judged.gold,
        retrieved=trace.retrieved,
        reranked=order,
        p_true=_probabilities(trace, order) if probabilities else (None,) * len(order),
        contexts=trace.contexts,
        answer=trace.reply if answers else None,
        outcome="failed" if trace.error else _outcome(system, test_set, trace, scores, answers=answers),
        metrics=final | scores,
        first=first,
        seconds=trace.seconds,
        error=trace.error,
        reachable=reachable(test_set, judged, trace.retrieved) if ranked else None,
        withheld=trace.withheld,
        cited=trace.cited,
    )
    return with_line_metrics(line, benchmark)


def is_right(question: Question, reply: str, scores: Mapping[str, float]) -> bool:
    """Whether a reply counts as right: it equals or contains an answer; a long reply needs an F1 of 0.5.

    A letter or a verdict is right if the set's own metric says so.
    """
    if question.style in ("choice", "claim"):
        return any(scores.get(name) for name in ("FEVER accuracy", "MIRAGE strict", "EM"))
    if question.style in ("conversation", "long", "short_or_long"):
        return max(token_f1(reply, question.answers), scores.get("ChatRAG F1", 0.0)) >= ENOUGH_F1
    return bool(exact_match(reply, question.answers)) or contains_any(reply, question.answers)


def _outcome(system: System, test_set: TestSet, trace: Trace, scores: Mapping[str, float], *, answers: bool) -> Outcome:
    """Return what became of a question: the first step that lost it, in the order of the pipeline."""
    benchmark, judged, reply = test_set.benchmark, trace.judged, trace.reply or ""
    refused = answers and (trace.withheld or is_refusal(reply))
    all_needed = benchmark.metric == "all-gold@5"
    if benchmark.unanswerable:
        return "right" if refused else "answered in vain"
    if is_right(judged.question, reply, scores) if answers else found_in(judged.gold, trace.contexts, all_needed):
        return "right"
    if system.closed_book:
        return "refused" if refused else "not known"
    needed = _needed(judged, trace.retrieved, test_set.passages)
    lost = needed is not None and lost_by(
        needed, trace.retrieved, trace.contexts, system.depth(), all_needed=all_needed
    )
    return lost or ("refused" if refused else "misread")


def _probabilities(trace: Trace, order: Ids) -> tuple[float | None, ...]:
    relevance = trace.decision.relevance
    return tuple(round(relevance[i], 6) if i in relevance else None for i in order)


def _needed(judged: Judged, retrieved: Ids, passages: Mapping[str, Passage]) -> Ids | None:
    """Return the passages that hold the answer: gold ones, else those with its words; None for a mere label."""
    if judged.gold or judged.question.style in ("choice", "claim"):
        return judged.gold or None
    return tuple(i for i in retrieved if holds_answer(passages[i], judged.question.answers))
