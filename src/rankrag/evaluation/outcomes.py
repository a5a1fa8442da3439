"""What became of a question: right, or the first step of the pipeline that lost it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rankrag.data.sets import Judged, TestSet
from rankrag.evaluation.lines import Ids, Outcome, QuestionLine
from rankrag.evaluation.metrics import exact_match, holds_answer, token_f1
from rankrag.evaluation.systems import System
from rankrag.generate import is_refusal
from rankrag.matching import contains_any, names_all
from rankrag.types import Passage, Question

ENOUGH_F1 = 0.5
"""Token F1 from which a long answer counts as right in the error analysis."""


def outcome_of(
    line: QuestionLine, system: System, test_set: TestSet, judged: Judged, scores: Mapping[str, float]
) -> Outcome:
    """Return what became of a question, in the order of the pipeline; `scores` are the metrics of its answer."""
    benchmark, answers, reply = test_set.benchmark, line.is_answered, line.answer or ""
    refused = answers and (line.withheld or is_refusal(reply))
    all_needed = benchmark.metric == "all-gold@5"
    if line.error:
        return "failed"
    if benchmark.unanswerable:
        return "right" if refused else "answered in vain"
    if is_right(judged.question, reply, scores) if answers else found_in(judged.gold, line.contexts, all_needed):
        return "right"
    if system.closed_book:
        return "refused" if refused else "not known"
    needed = _needed(judged, line.retrieved, test_set.passages)
    lost = needed is not None and lost_by(needed, line.retrieved, line.contexts, system.depth(), all_needed=all_needed)
    return lost or ("refused" if refused else "misread")


def is_right(question: Question, reply: str, scores: Mapping[str, float]) -> bool:
    """Whether a reply counts as right: it equals or contains an answer, or names all items of a list.

    A long reply needs an F1 of 0.5. A letter or a verdict is right if the set's own metric says so.
    """
    if question.style in ("choice", "claim"):
        return any(scores.get(name) for name in ("FEVER accuracy", "MIRAGE strict", "EM"))
    if question.style in ("conversation", "long", "short_or_long"):
        return max(token_f1(reply, question.answers), scores.get("ChatRAG F1", 0.0)) >= ENOUGH_F1
    return bool(exact_match(reply, question.answers)) or answers_it(reply, question)


def answers_it(reply: str, question: Question) -> bool:
    """Whether a reply contains one of the answers, or names all items of a list."""
    return contains_any(reply, question.answers) or names_all(reply, question.items)


def lost_by(
    needed: Collection[str], retrieved: Collection[str], contexts: Collection[str], k: int, *, all_needed: bool
) -> Outcome | None:
    """Return the step of retrieval or ranking that lost a question; None if the `needed` passages were read.

    `contexts` are the passages that were read, at most `k`. A multi-hop question needs all passages, others one.
    """
    if found_in(needed, contexts, all_needed):
        return None
    if not found_in(needed, retrieved, all_needed):
        return "not retrieved"
    return "beyond k" if all_needed and len(set(needed)) > k else "ranked away"


def found_in(needed: Collection[str], among: Collection[str], all_needed: bool) -> bool:
    """Whether one of the needed passages, or all of them, is among these."""
    return set(needed) <= set(among) if all_needed else not set(needed).isdisjoint(among)


def _needed(judged: Judged, retrieved: Ids, passages: Mapping[str, Passage]) -> Ids | None:
    """Return the passages that hold the answer: gold ones, else those with its words; None for a mere label."""
    if judged.gold or judged.question.style in ("choice", "claim"):
        return judged.gold or None
    return tuple(i for i in retrieved if holds_answer(passages[i], judged.question.answers))
