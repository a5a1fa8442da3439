"""Own documents about made-up rivers, and what writes questions about them and answers."""

from __future__ import annotations

import re

import pytest

from rankrag.matching import normalise
from rankrag.models.fake import FakeLanguageModel
from rankrag.templates import WRITE
from rankrag.types import Passage, ScoredPassage, Source

TOWNS = ("Ashford", "Burton", "Corby", "Derby")
HILLS = ("Aster", "Brome", "Cress", "Dill", "Elder", "Flax", "Gorse", "Heath", "Iris", "Jute", "Kale", "Lupin")


class WordRetriever:
    """Ranks passages by the words that they share with the query."""

    def __init__(self, passages):
        self.passages = passages

    def retrieve(self, queries, k):
        return [self._ranking(set(normalise(query).split()))[:k] for query in queries]

    def _ranking(self, words):
        shared = [(len(words & set(normalise(p.text).split())), p) for p in self.passages]
        return tuple(ScoredPassage(p, n) for n, p in sorted(shared, key=lambda item: -item[0]) if n)


def speak(prompt):
    """Ask where a sentence's river ends; answer what the passage says of the river that is asked about."""
    text = next(s.text for s in reversed(prompt) if s.kind == "text")
    if any(WRITE in s.text for s in prompt if s.kind == "fixed"):
        river = re.search(r"river (\w+)", text)
        return f"Where does the river {river[1]} reach the sea?\nAnd more." if river else "No."
    river = re.search(r"river (\w+)", text)[1]
    passage = next(s.text for s in prompt if s.kind == "passage")
    found = re.search(rf"river {river} reaches the sea at (\w+)", passage)
    return found[1] if found else "Sorry. I cannot find the answer based on the context."


@pytest.fixture
def rivers():
    """Twelve passages of six documents, each about one river."""
    texts = [
        f"It rises under Mount {hill}, runs by {hill} Abbey and drives the {hill} mills, where {hill} cloth is made. "
        f"At its end the river Alder{i} reaches the sea at {TOWNS[i % 4]}{i}."
        for i, hill in enumerate(HILLS)
    ]
    return [Passage(f"doc{i // 2}.md#{i % 2}", t, "Rivers", Source(f"doc{i // 2}.md")) for i, t in enumerate(texts)]


@pytest.fixture
def retriever_of():
    return WordRetriever


@pytest.fixture
def speaker():
    """Make a model that speaks so, or as it is told."""
    return lambda reply=speak: FakeLanguageModel(reply=reply)
