"""BM25 negatives: for every question the passages that look right and are not (paper, section 4.2.1)."""

from __future__ import annotations

from collections.abc import Sequence

from rankrag.blend.false_negatives import false_negative
from rankrag.blend.sources import Record, Source
from rankrag.errors import MissingExtraError
from rankrag.retrieval.lexical import K1, B, analyse
from rankrag.templates import passage_text

Mined = Sequence[Sequence[str]]
"""For each record of a source the ids of its hard negatives, best first."""


def mine(source: Source, depth: int) -> list[tuple[str, ...]]:
    """Return, for each record, ids of the `depth` best BM25 passages of the source that do not answer it, best first.

    Left out, and counted in `dropped`, are gold passages, passages that contain an answer, and near-duplicates of a
    gold passage.
    """
    ids = list(source.passages)
    if not ids or not depth:
        return [() for _ in source.records]
    try:
        import bm25s
    except ImportError:
        raise MissingExtraError('mining negatives needs bm25s; install it with: pip install "rankrag[blend]"') from None
    index = bm25s.BM25(k1=K1, b=B, method="lucene")
    index.index([analyse(passage_text(p)) for p in source.passages.values()], show_progress=False)
    queries = [analyse(search_text(record)) for record in source.records]
    found, _ = index.retrieve(queries, corpus=ids, k=min(depth + 10, len(ids)), show_progress=False)
    return [_negatives(source, record, row, depth) for record, row in zip(source.records, found, strict=True)]


def search_text(record: Record) -> str:
    """Return what is searched for a record: the question, after the two turns before it where there are any."""
    return " ".join([m.content for m in record.question.history[-2:]] + [record.question.text])


def _negatives(source: Source, record: Record, found: Sequence[str], depth: int) -> tuple[str, ...]:
    kept: list[str] = []
    for i in found:
        why = false_negative(source, record, i)
        if not why:
            kept.append(i)
        elif why != "gold passage":
            source.dropped[f"mined negative: {why}"] += 1
    return tuple(kept[:depth])
