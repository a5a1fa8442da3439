"""Raised and lowered text in plain characters: 10⁶, H₂O, x^(n+1); marks of footnotes stay apart from their word."""

from __future__ import annotations

import re

_UP = str.maketrans("0123456789+-−=()n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁼⁽⁾ⁿ")
_DOWN = str.maketrans("0123456789+-−=()", "₀₁₂₃₄₅₆₇₈₉₊₋₋₌₍₎")
_NUMBER = re.compile(r"[0-9+\-−=()]+|n")
_ORDINAL = re.compile(
    r"\d\.?(?:[a-zº°ªéèêáàó]{1,4})|(?<![^\W\d_])[mnd](?:me|mes|lle|gr|r|o|os)|\w(?:tm|sm|r)", re.IGNORECASE
)
_MARK = re.compile(r"\[?\(?(?:\d{1,3}|[a-z*†‡§¶]{1,2})(?:\s?,\s?(?:\d{1,3}|[a-z*†‡]))*\)?\]?")


def raised(text: str, before: str) -> str:
    """Return superscript as it is written behind `before`: an exponent, an ordinal, or the mark of a footnote."""
    text = " ".join(text.split())
    if not text:
        return ""
    last = before[-1:]
    if _NUMBER.fullmatch(text):
        word = re.search(r"[^\W\d_]+$", before)
        if text.isdigit() and (last in ".,;:!?”\"')»" or (word and len(word[0]) > 3)):
            return mark(text)
        return text.translate(_UP)
    if text.startswith("[") or text in "*†‡§¶**":
        return mark(text)
    if _ORDINAL.fullmatch(before[-2:].lstrip() + text) or _ORDINAL.fullmatch(last + text):
        return text
    return f"^{text}" if text.isalnum() else f"^({text})"


def lowered(text: str) -> str:
    """Return subscript as it is written behind its letter."""
    text = " ".join(text.split())
    if not text:
        return ""
    if _NUMBER.fullmatch(text) and text != "n":
        return text.translate(_DOWN)
    return f"_{text}" if text.isalnum() else f"_({text})"


def mark(text: str) -> str:
    """Return the mark of a footnote, apart from the word that it is at."""
    text = " ".join(text.split())
    return text if text.startswith("[") else f" [{text}]"


def is_mark(text: str) -> bool:
    """Whether a link or a raised text is short enough to be the mark of a footnote."""
    return bool(_MARK.fullmatch(" ".join(text.split())))
