"""What became of a question: right, or the first step of the pipeline that lost it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from rankrag.evaluation.metrics import exact_match, token_f1
from rankrag.generate import is_refusal
from rankrag.matching import contains_any
from rankrag.types import Question

Outcome = Literal[
    "right", "not retrieved", "ranked away", "misread", "refused", "not known", "answered in vain", "failed"
]

OUTCOMES: dict[Outcome, str] = {
    "right": "the answer is right (without an answer: all the question needs is among the k passages)",
    "not retrieved": "what the question needs is not among the N passages of the first stage",
    "ranked away": "it is among the N, but not among the k that are answered from",
    "misread": "it was there to be read, and the answer is wrong",
    "refused": "no answer was given, though it was there to be read (closed book: whatever was known)",
    "not known": "wrong without any passages (closed book)",
    "answered in vain": "the passages hold no answer, and one was given",
    "failed": "the model could not be asked; it counts as wrong",
}
"""Every outcome with what it means, in the order of the report."""

ENOUGH_F1 = 0.5
"""Token F1 from which a long answer counts as right in the error analysis."""


def is_right(question: Question, reply: str, metrics: dict[str, float]) -> bool:
    """Whether a reply counts as right: it equals or contains an answer; of a long one F1 of .5 is enough.

    A letter or a verdict is right where the set's own metric says so.
    """
    if question.style in ("choice", "claim"):
        return any(metrics.get(name) for name in ("FEVER accuracy", "MIRAGE strict", "EM"))
    if question.style in ("conversation", "long", "short_or_long"):
        return max(token_f1(reply, question.answers), metrics.get("ChatRAG F1", 0.0)) >= ENOUGH_F1
    return bool(exact_match(reply, question.answers)) or contains_any(reply, question.answers)


def outcome(
    *,
    right: bool,
    refused: bool,
    retrieved: Collection[str],
    contexts: Collection[str],
    gold: Collection[str] | None,
    all_needed: bool = False,
    closed_book: bool = False,
    answerable: bool = True,
) -> Outcome:
    """Return what became of a question: the first step that lost it, in the order of the pipeline.

    Args:
        right: whether the answer (where nothing is answered: the ranking) is right.
        refused: whether no answer was given.
        retrieved: ids of the N passages.
        contexts: ids of the k passages.
        gold: ids of the passages that hold the answer; None where that is not known, then nothing was lost before.
        all_needed: whether all of them are needed (multi-hop), not one.
        closed_book: whether no passages were asked for.
        answerable: whether there is an answer at all; without one a refusal is right.
    """
    if not answerable:
        return "right" if refused else "answered in vain"
    if right:
        return "right"
    if closed_book:
        return "refused" if refused else "not known"
    if gold is not None and not found_in(gold, retrieved, all_needed):
        return "not retrieved"
    if gold is not None and not found_in(gold, contexts, all_needed):
        return "ranked away"
    return "refused" if refused else "misread"


def withheld_or_refused(reply: str | None) -> bool:
    """Whether a question got no answer: nothing was asked for, or the reply says so."""
    return reply is None or is_refusal(reply)


def found_in(gold: Collection[str], among: Collection[str], all_needed: bool) -> bool:
    """Whether one of the gold passages, or all of them, is among these."""
    return set(gold) <= set(among) if all_needed else not set(gold).isdisjoint(among)
