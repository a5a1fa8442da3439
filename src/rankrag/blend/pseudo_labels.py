"""Ranking labels nobody wrote: chunks of a document, judged by what they share with the answer (paper, 4.2.1)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from rankrag.matching import ngram_recall
from rankrag.types import Passage


@dataclass(frozen=True, slots=True)
class Chunk:
    """A chunk of a document, and whether it answers; between the two thresholds that is not known."""

    passage: Passage
    label: Literal["relevant", "irrelevant", "unclear"]


def labelled_chunks(
    document: Passage, answers: Iterable[str], *, words: int, relevant_above: float, irrelevant_below: float
) -> list[Chunk]:
    """Return the document in chunks of `words` words, each labelled by its best 4-gram recall of an answer.

    Chunks carry the document's title; their ids are the document's with a number. Line breaks become spaces.
    """
    references, chunks = list(answers), []
    found = document.text.split()
    for number, start in enumerate(range(0, len(found), words)):
        text = " ".join(found[start : start + words])
        recall = max((ngram_recall(text, answer) for answer in references), default=0.0)
        label: Literal["relevant", "irrelevant", "unclear"] = (
            "relevant" if recall > relevant_above else "irrelevant" if recall < irrelevant_below else "unclear"
        )
        chunks.append(Chunk(Passage(f"{document.id}/{number}", text, document.title), label))
    return chunks
