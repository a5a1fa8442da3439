"""A label read from a reply: the letter of an option (MIRAGE's rules), the verdict on a claim (FEVER)."""

from __future__ import annotations

import re

from rankrag.matching import normalise

_ANSWER_FIELD = '"answer_choice": "'

LETTERS = "ABCD"
"""The letters that MIRAGE's scorer looks for; sets of one's own may have more options."""

_LETTER_RULES = (r"^\s*([ABCD])(?:$| or| and|/|,)", r"[Oo]ption ([ABCD])", r":\s*([ABCD])", r"^\s*([ABCD])[.\":]")
"""Where MIRAGE's scorer looks for a letter, in this order."""

_VERDICTS = {"true": "SUPPORTS", "supports": "SUPPORTS", "false": "REFUTES", "refutes": "REFUTES"}


def letter_of(reply: str, letters: str = LETTERS) -> str | None:
    """Return the letter that MIRAGE's scorer finds in a reply; None if it finds none, and then takes A.

    `letters` are those of the question's options, if there are more than four.
    """
    text = reply.split(_ANSWER_FIELD)[-1].strip()
    rules = (rule.replace(LETTERS, letters) for rule in _LETTER_RULES)
    return next((found[1] for rule in rules if (found := re.search(rule, text))), None)


def verdict_of(reply: str) -> str | None:
    """Return FEVER's label for the first word of the reply that is a verdict (True, False, or a label), else None."""
    if normalise(reply).startswith("not enough info"):
        return "NOT ENOUGH INFO"
    return next((_VERDICTS[word] for word in normalise(reply).split() if word in _VERDICTS), None)
