"""What became of a question: right, or the first step of the pipeline that lost it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

Outcome = Literal[
    "right", "not retrieved", "beyond k", "ranked away", "misread", "refused", "not known", "answered in vain", "failed"
]

OUTCOMES: dict[Outcome, str] = {
    "right": "the answer is right (if nothing is answered: the needed passages are among the k)",
    "not retrieved": "the needed passages are not among the N candidates of the first stage",
    "beyond k": "the question needs more passages than the k that are read",
    "ranked away": "the needed passages are among the N candidates, but not among the k that are read",
    "misread": "the needed passages were read, and the answer is wrong",
    "refused": "the needed passages were read, and no answer was given (closed book: no answer was given)",
    "not known": "the answer is wrong, without any passages (closed book)",
    "answered in vain": "no passage holds the answer, and one was given",
    "failed": "the model could not be asked; this counts as wrong",
}
"""Every outcome with its meaning, in the order of the report."""


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
