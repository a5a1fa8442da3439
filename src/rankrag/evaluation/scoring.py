"""What a question's line is worth: its metrics, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rankrag.data.sets import Judged, TestSet
from rankrag.evaluation.line_metrics import with_line_metrics
from rankrag.evaluation.lines import Ids, QuestionLine
from rankrag.evaluation.metrics import answer_scores, exact_match, holds_answer, ranking_scores, reachable, token_f1
from rankrag.evaluation.outcomes import Outcome, found_in, lost_by
from rankrag.evaluation.systems import System
from rankrag.generate import is_refusal
from rankrag.matching import contains_any
from rankrag.types import Passage, Question

ENOUGH_F1 = 0.5
"""Token F1 from which a long answer counts as right in the error analysis."""


def with_scores(line: QuestionLine, system: System, test_set: TestSet, judged: Judged) -> QuestionLine:
    """Return the line of what happened to a question with its metrics and its outcome."""
    question, benchmark = judged.question, test_set.benchmark
    ranked = not (system.closed_book or benchmark.unanswerable)
    first = ranking_scores(test_set, judged, line.retrieved) if ranked else {}
    final = ranking_scores(test_set, judged, line.reranked) if ranked and line.reranked != line.retrieved else first
    answered = line.is_answered and not benchmark.unanswerable
    scores = answer_scores(benchmark, line.answer or "", question.answers, question.letters) if answered else {}
    whole = replace(
        line,
        metrics=final | scores,
        first=first,
        reachable=reachable(test_set, judged, line.retrieved) if ranked else None,
        outcome="failed" if line.error else _outcome(line, system, test_set, judged, scores),
    )
    return with_line_metrics(whole, benchmark)


def is_right(question: Question, reply: str, scores: Mapping[str, float]) -> bool:
    """Whether a reply counts as right: it equals or contains an answer; a long reply needs an F1 of 0.5.

    A letter or a verdict is right if the set's own metric says so.
    """
    if question.style in ("choice", "claim"):
        return any(scores.get(name) for name in ("FEVER accuracy", "MIRAGE strict", "EM"))
    if question.style in ("conversation", "long", "short_or_long"):
        return max(token_f1(reply, question.answers), scores.get("ChatRAG F1", 0.0)) >= ENOUGH_F1
    return bool(exact_match(reply, question.answers)) or contains_any(reply, question.answers)


def _outcome(
    line: QuestionLine, system: System, test_set: TestSet, judged: Judged, scores: Mapping[str, float]
) -> Outcome:
    """Return what became of a question: the first step that lost it, in the order of the pipeline."""
    benchmark, answers, reply = test_set.benchmark, line.is_answered, line.answer or ""
    refused = answers and (line.withheld or is_refusal(reply))
    all_needed = benchmark.metric == "all-gold@5"
    if benchmark.unanswerable:
        return "right" if refused else "answered in vain"
    if is_right(judged.question, reply, scores) if answers else found_in(judged.gold, line.contexts, all_needed):
        return "right"
    if system.closed_book:
        return "refused" if refused else "not known"
    needed = _needed(judged, line.retrieved, test_set.passages)
    lost = needed is not None and lost_by(needed, line.retrieved, line.contexts, system.depth(), all_needed=all_needed)
    return lost or ("refused" if refused else "misread")


def _needed(judged: Judged, retrieved: Ids, passages: Mapping[str, Passage]) -> Ids | None:
    """Return the passages that hold the answer: gold ones, else those with its words; None for a mere label."""
    if judged.gold or judged.question.style in ("choice", "claim"):
        return judged.gold or None
    return tuple(i for i in retrieved if holds_answer(passages[i], judged.question.answers))
