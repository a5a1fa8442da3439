"""Comparing answers with texts: normalisation, two rules for "does the text contain the answer", n-gram recall."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation, ""))
_UNSPACED = re.compile(  # Thai, Lao, Burmese, Khmer, kana, Han: scripts that put no space between words
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u2e80-\u2fdf\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)

_REMARK = re.compile(r"\s*\([^()]*\)$")


def normalise(text: str) -> str:
    """Return text as SQuAD's scorer compares it: lower case, no punctuation, no English articles, single spaces.

    Text in a script without spaces between words is compared as MLQA's scorer does: each of its characters is a word,
    and no punctuation of any language counts.
    """
    if not text.isascii() and _UNSPACED.search(text):
        text = unicodedata.normalize("NFKC", text)
        text = "".join(" " if unicodedata.category(c)[0] == "P" else c for c in text)
        text = _UNSPACED.sub(r" \g<0> ", text)
    return " ".join(_ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def contains(text: str, phrase: str) -> bool:
    """Whether the normalised words of `phrase` follow each other in `text`; an empty phrase is never contained."""
    wanted = normalise(phrase)
    return bool(wanted) and f" {wanted} " in f" {normalise(text)} "


def contains_any(text: str, phrases: Iterable[str]) -> bool:
    """Whether `text` contains one of the phrases."""
    padded = _padded(text)
    return any(wanted in padded for wanted in map(_padded, phrases) if wanted.strip())


def names_all(text: str, items: Iterable[str]) -> bool:
    """Whether `text` names every one of the items, each perhaps with an ending of its own ("roles" for "role").

    False without items.
    """
    padded, wanted = _padded(text), [normalise(item) for item in items]
    return bool(wanted) and all(item and f" {item}" in padded for item in wanted)


def without_remark(title: str) -> str:
    """Return a title without a remark in brackets at its end, as in "Casablanca (film)"."""
    return _REMARK.sub("", title)


def has_answer(text: str, answers: Iterable[str]) -> bool:
    """Whether `text` contains an answer by DPR's rule, with which other papers measure recall.

    A word is a run of letters, digits and marks, or one other visible character; in scripts that put no space between
    words, each character is one. Case does not matter.
    """
    words = _dpr_words(text)
    return any(_stands_in(_dpr_words(answer), words) for answer in answers)


def ngram_recall(text: str, answer: str, n: int = 4) -> float:
    """Return the share of the answer's word n-grams that occur in `text` (paper, section 4.2.1, n = 4).

    An answer shorter than `n` words is one n-gram of its own length; an empty answer gives 0.
    """
    words = normalise(answer).split()
    size = min(n, len(words))
    if not size:
        return 0.0
    found = _ngrams(normalise(text).split(), size)
    wanted = [tuple(words[i : i + size]) for i in range(len(words) - size + 1)]
    return sum(gram in found for gram in wanted) / len(wanted)


def near_duplicate(a: str, b: str, threshold: float = 0.8) -> bool:
    """Whether two texts share more than `threshold` of their words (Jaccard over sets of normalised words)."""
    left, right = _words(a), _words(b)
    return bool(left | right) and len(left & right) / len(left | right) > threshold


@lru_cache(maxsize=1 << 15)
def _dpr_words(text: str) -> tuple[str, ...]:
    words: list[str] = []
    inside = False
    for character in unicodedata.normalize("NFD", text):
        kind = unicodedata.category(character)[0]
        alone = kind != "M" and bool(_UNSPACED.match(character))
        if kind in "LNM" and inside and not alone:
            words[-1] += character
        elif kind not in "ZC":
            words.append(character)
        inside = kind in "LNM" and not alone
    return tuple(word.lower() for word in words)


def _stands_in(wanted: tuple[str, ...], words: tuple[str, ...]) -> bool:
    size = len(wanted)
    return bool(size) and any(words[i : i + size] == wanted for i in range(len(words) - size + 1))


@lru_cache(maxsize=1 << 15)  # the same passages are compared with one question after another
def _padded(text: str) -> str:
    return f" {normalise(text)} "


@lru_cache(maxsize=1 << 15)
def _words(text: str) -> frozenset[str]:
    return frozenset(normalise(text).split())


def _ngrams(words: list[str], size: int) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}
