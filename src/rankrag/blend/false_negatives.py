"""Passages that look like negatives of a question and are not: they answer it, or repeat a passage that does."""

from __future__ import annotations

from rankrag.blend.sources import Record, Source
from rankrag.matching import contains_any, near_duplicate


def false_negative(source: Source, record: Record, passage_id: str) -> str:
    """Return why a passage may not serve as a negative of a record, "" where it may."""
    if passage_id in record.positives:
        return "gold passage"
    if passage_id in record.unclear:
        return "relevance not known"
    text = source.passages[passage_id].text
    if contains_any(text, record.question.answers):
        return "contains an answer"
    if any(near_duplicate(text, source.passages[i].text) for i in record.positives):
        return "nearly equals a gold passage"
    return ""
