"""What became of a question: right, or the first step of the pipeline that lost it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Found:
    """What a system read of what a question needs.

    Attributes:
        retrieved: ids of the N candidates.
        contexts: ids of the passages that were read.
        needed: ids of the passages that hold the answer; None if that is not known.
        all_needed: whether all of them are needed (multi-hop), not one.
        k: how many passages can be read.
    """

    retrieved: Collection[str]
    contexts: Collection[str]
    needed: Collection[str] | None
    all_needed: bool
    k: int

    def lost_by(self) -> Outcome | None:
        """Return the step of retrieval or ranking that lost the question; None if it could be read."""
        if self.needed is None or found_in(self.needed, self.contexts, self.all_needed):
            return None
        if not found_in(self.needed, self.retrieved, self.all_needed):
            return "not retrieved"
        return "beyond k" if self.all_needed and len(set(self.needed)) > self.k else "ranked away"


def outcome(found: Found, *, right: bool, refused: bool, closed_book: bool = False, answerable: bool = True) -> Outcome:
    """Return what became of a question: the first step that lost it, in the order of the pipeline.

    `right` and `refused` are about the answer, or about the ranking if nothing is answered. Without an answer in the
    passages (`answerable` is false) a refusal is right.
    """
    if not answerable:
        return "right" if refused else "answered in vain"
    if right:
        return "right"
    if closed_book:
        return "refused" if refused else "not known"
    return found.lost_by() or ("refused" if refused else "misread")


def found_in(needed: Collection[str], among: Collection[str], all_needed: bool) -> bool:
    """Whether one of the needed passages, or all of them, is among these."""
    return set(needed) <= set(among) if all_needed else not set(needed).isdisjoint(among)
