"""Which written questions may be trained on: those that lead back to their passage and to the same answer."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable

from rankrag.generate import is_refusal
from rankrag.matching import contains, near_duplicate, normalise

_WORDS = range(4, 31)
_SPEAKS_OF_THE_PASSAGE = re.compile(
    r"\b(?:the|this|that|these|given|above|following|provided) "
    r"(?:above |following |given |short )?(?:passages?|texts?|article|paragraphs?|excerpts?|document|sentence)\b"
    r"|\baccording to (?:it|the (?:author|information))\b|\b(?:mentioned|described|stated) above\b",
    re.IGNORECASE,
)
_ALIKE = 0.8


def unfit(question: str) -> str:
    """Return why a text cannot be asked of anyone who does not see the passage, "" where it can."""
    if not question:
        return "nothing written"
    if not question.endswith(("?", "？", "؟")):
        return "not a question"
    if len(question.split()) not in _WORDS:
        return f"not {_WORDS[0]} to {_WORDS[-1]} words"
    return "speaks of the passage" if _SPEAKS_OF_THE_PASSAGE.search(question) else ""


def unsupported(question: str, answer: str, text: str) -> str:
    """Return why an answer from a passage with this text is of no use, "" where it is."""
    if is_refusal(answer):
        return "no answer"
    if not contains(text, answer):
        return "answer is not in the passage"
    return "answer is in the question" if contains(question, answer) else ""


def disagree(proposed: str, reply: str) -> bool:
    """Whether two answers differ by more than words before and after what they share."""
    return not (contains(proposed, reply) or contains(reply, proposed))


class Distinct:
    """Questions that were kept so far, and whether a new one nearly equals one of them.

    Texts that share more than a share t of their words share one among the first |words| - ceil(t |words|) + 1 of each,
    in any fixed order; so only those that do are compared.
    """

    def __init__(self) -> None:
        self._kept: dict[str, list[str]] = defaultdict(list)

    def add(self, question: str) -> bool:
        """Keep a question and return True; False where it nearly equals one that is kept."""
        words = sorted(set(normalise(question).split()))
        first = words[: len(words) - math.ceil(_ALIKE * len(words)) + 1]
        if any(near_duplicate(question, kept, _ALIKE) for kept in _unique(self._kept[word] for word in first)):
            return False
        for word in first:
            self._kept[word].append(question)
        return True


def _unique(lists: Iterable[list[str]]) -> Iterable[str]:
    return dict.fromkeys(text for kept in lists for text in kept)
