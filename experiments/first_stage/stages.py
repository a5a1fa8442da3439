"""First stages as scores of every passage for every query, and how they are fused."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from rankrag.retrieval.fusion import DEPTH, RANK_CONSTANT
from rankrag.retrieval.lexical import K1, B, analyse
from rankrag.types import Passage

Scores = npt.NDArray[np.float32]
"""[queries, passages]; 0 where a passage is not found."""


def bm25(passages: Sequence[Passage], queries: Sequence[str], terms: Callable[[Passage], list[str]]) -> Scores:
    """Return exact BM25 scores over these terms of the passages."""
    import bm25s

    index = bm25s.BM25(method="lucene", k1=K1, b=B)
    index.index([terms(passage) for passage in passages], show_progress=False)
    rows = []
    for query in queries:
        known = [term for term in dict.fromkeys(analyse(query)) if term in index.vocab_dict]
        rows.append(index.get_scores(known) if known else np.zeros(len(passages)))
    return np.array(rows, np.float32)


def by_rank(parts: Sequence[Scores]) -> Scores:
    """Return the sums of 1 / (60 + rank) over the rankings, each cut after 100 passages, as `fusion.fuse` does."""
    fused = np.zeros(parts[0].shape, np.float32)
    for scores in parts:
        best = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
        found = np.take_along_axis(scores, best, 1) > 0
        ranks = np.where(found, 1.0 / (RANK_CONSTANT + 1 + np.arange(best.shape[1])), 0)
        np.put_along_axis(fused, best, np.take_along_axis(fused, best, 1) + ranks.astype(np.float32), 1)
    return fused


def by_score(parts: Sequence[Scores], weights: Sequence[float]) -> Scores:
    """Return the weighted sums of scores, each divided by the best one of its query, over the first 100 of each."""
    fused = np.zeros(parts[0].shape, np.float32)
    for scores, weight in zip(parts, weights, strict=True):
        lowest = np.partition(scores, -min(DEPTH, scores.shape[1]), axis=1)[:, -min(DEPTH, scores.shape[1])]
        kept = np.where(scores >= lowest[:, None], scores, 0)
        fused += weight * kept / scores.max(1, keepdims=True).clip(1e-9)
    return fused


def of_questions(scores: Scores, queries: Sequence[Sequence[str]]) -> Scores:
    """Return one row a question: its query's, or the fusion by rank of all its queries'."""
    rows, start = [], 0
    for asked in queries:
        part = scores[start : start + len(asked)]
        rows.append(part[0] if len(asked) == 1 else by_rank([row[None] for row in part])[0])
        start += len(asked)
    return np.array(rows)


def recall(scores: Scores, gold: Sequence[frozenset[int]], k: int) -> list[float]:
    """Return each question's share of gold passages among its first `k`."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return [len(places & set(row.tolist())) / len(places) for row, places in zip(best, gold, strict=True)]
