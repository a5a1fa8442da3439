"""Dense retrieval: the passages whose vectors have the largest inner product with the query's."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from rankrag.retrieval.encoder import Vectors
from rankrag.retrieval.forms import Similarity
from rankrag.retrieval.lexical import Hit

if TYPE_CHECKING:
    from lancedb.table import Table

PROBES = 80
"""Partitions of the vector index that a query is compared with."""

_SCORES_AT_ONCE = 32_000_000  # 128 MB of float32


def vector_key(text: str) -> str:
    """Return the name under which the vector of a text is kept: a digest, so that no text ever gets a stale vector."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def exact_search(matrix: Vectors, rows: npt.NDArray[np.int64], queries: Vectors, k: int) -> list[list[Hit]]:
    """Return for each query the `k` rows whose vectors have the largest inner product, ties in the order given."""
    k = min(k, len(rows))
    if k <= 0:
        return [[] for _ in queries]
    hits: list[list[Hit]] = []
    step = max(1, _SCORES_AT_ONCE // len(rows))
    for start in range(0, len(queries), step):
        block = queries[start : start + step] @ matrix.T
        lowest = np.partition(block, -k, axis=1)[:, -k]
        for scores, last in zip(block, lowest, strict=True):
            near = np.flatnonzero(scores >= last)
            best = near[np.argsort(-scores[near], kind="stable")][:k]
            hits.append([(int(rows[i]), float(scores[i])) for i in best])
    return hits


class ApproximateSearch:
    """About the nearest of `rows`, by the vector index of `table`; `keys` go with `rows`.

    Scores are exact inner products. Ties keep the order given; vectors that no row uses any more are passed over.
    """

    def __init__(
        self, table: Table, similarity: Similarity, keys: pa.ChunkedArray, rows: npt.NDArray[np.int64]
    ) -> None:
        names = np.asarray(keys.cast(pa.binary()).to_numpy(), dtype="S32")
        self._order = np.argsort(names, kind="stable")
        self._names = names[self._order]
        self._rows = rows
        self._different = int((self._names[1:] != self._names[:-1]).sum()) + bool(len(names))
        self._table, self._similarity = table, similarity

    def __call__(self, queries: Vectors, k: int) -> list[list[Hit]]:
        """Return for each query at most `k` rows, the nearest first."""
        return [self._nearest(query, k) for query in queries]

    def _nearest(self, query: npt.NDArray[np.float32], k: int) -> list[Hit]:
        unused = max(self._table.count_rows() - self._different, 0)
        near = (
            self._table.search(query)
            .distance_type(self._similarity)
            .nprobes(PROBES)
            .refine_factor(2)
            .select(["key", "_distance"])
            .limit(max(k, 1) + unused)
            .to_arrow()
        )
        names = np.asarray(near["key"].cast(pa.binary()).to_numpy(), dtype="S32")
        first, last = (np.searchsorted(self._names, names, side=side) for side in ("left", "right"))
        spans = zip(near["_distance"].to_pylist(), first.tolist(), last.tolist(), strict=True)
        ordered = sorted((distance, int(i)) for distance, start, end in spans for i in self._order[start:end])
        return [(int(self._rows[i]), 1.0 - distance) for distance, i in ordered[:k]]
