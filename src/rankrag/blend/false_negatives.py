"""Passages that look like negatives of a question and are not: they answer it, or repeat a passage that does."""

from __future__ import annotations

from rankrag.blend.sources import Record, Source
from rankrag.matching import contains_any, near_duplicate


def is_negative(source: Source, record: Record, passage_id: str, found: str) -> bool:
    """Whether a passage may serve as a negative of a record.

    Why another may not is counted in `dropped` under how it was `found`, "mined" or "random"; a gold one is no loss.
    """
    if passage_id in record.positives:
        return False
    why = _false_negative(source, record, passage_id)
    if why:
        source.dropped[f"{found} negative: {why}"] += 1
    return not why


def _false_negative(source: Source, record: Record, passage_id: str) -> str:
    if passage_id in record.unclear:
        return "relevance not known"
    text = source.passages[passage_id].text
    if contains_any(text, record.question.answers):
        return "contains an answer"
    if any(near_duplicate(text, source.passages[i].text) for i in record.positives):
        return "nearly equals a gold passage"
    return ""
