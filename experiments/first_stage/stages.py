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


def rank_shares(scores: Scores) -> Scores:
    """Return 1 / (60 + rank) for the first 100 passages of each query, 0 for others, as `fusion.fuse_by_rank` does."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
    shares = np.where(np.take_along_axis(scores, best, 1) > 0, 1 / (RANK_CONSTANT + 1 + np.arange(best.shape[1])), 0)
    found = np.zeros(scores.shape, np.float32)
    np.put_along_axis(found, best, shares.astype(np.float32), 1)
    return found


def score_shares(scores: Scores) -> Scores:
    """Return each score as a share of the way from the lowest of its query's first 100, which is 0, to the best, 1."""
    depth = min(DEPTH, scores.shape[1])
    lowest = np.partition(scores, -depth, axis=1)[:, -depth, None]
    share: Scores = (scores - lowest) / (scores.max(1, keepdims=True) - lowest).clip(1e-9)
    return share.clip(0)


def of_questions(parts: Sequence[Scores], queries: Sequence[Sequence[str]]) -> Scores:
    """Return one row a question: the sum over all parts and all its queries, each of which counts alike."""
    owners = np.repeat(np.arange(len(queries)), [len(asked) for asked in queries])
    total = np.zeros((len(queries), parts[0].shape[1]), np.float32)
    for part in parts:
        np.add.at(total, owners, part)
    return total


def recall(scores: Scores, gold: Sequence[frozenset[int]], k: int) -> list[float]:
    """Return each question's share of gold passages among its first `k`."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return [len(places & set(row.tolist())) / len(places) for row, places in zip(best, gold, strict=True)]
