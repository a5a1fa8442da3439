"""Retrieval-augmented ranking: name all relevant ones among five passages (paper, section 4.2.1)."""

from __future__ import annotations

from collections.abc import Iterator

from rankrag.blend.retrieval_qa import PassageList
from rankrag.blend.sources import Source
from rankrag.matching import contains_any
from rankrag.templates import list_ranking_target
from rankrag.types import DataKind, Example


def retrieval_ranking_examples(source: Source, of: PassageList) -> Iterator[Example]:
    """Yield one example for each answered record; relevant is gold, or a passage that contains an answer."""
    for record in of.answered:
        relevant = [
            i
            for i, passage in enumerate(of.passages)
            if passage.id in record.positives or contains_any(passage.text, record.question.answers)
        ]
        target = list_ranking_target(relevant)
        yield Example(DataKind.RETRIEVAL_RANKING, source.name, record.question, of.passages, target)
