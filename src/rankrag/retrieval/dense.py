"""Dense retrieval: the passages whose vectors have the largest inner product with the query's."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rankrag.retrieval.encoder import Similarity, Vectors
from rankrag.retrieval.lexical import Hit

if TYPE_CHECKING:
    from lancedb.table import Table

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


def approximate_search(
    table: Table, similarity: Similarity, keys: pa.Array, rows: npt.NDArray[np.int64], queries: Vectors, k: int
) -> list[list[Hit]]:
    """Return for each query about the `k` nearest of `rows`, by the vector index of `table`; `keys` go with `rows`.

    Scores are exact inner products. Ties keep the order given; vectors that no row uses any more are passed over.
    """
    unused = table.count_rows() - len(pc.unique(keys))
    found = [
        table.search(query)
        .distance_type(similarity)
        .refine_factor(2)
        .select(["key", "_distance"])
        .limit(max(k, 1) + max(unused, 0))
        .to_arrow()
        for query in queries
    ]
    wanted = pa.chunked_array([chunk for near in found for chunk in near["key"].chunks], pa.string())
    places: dict[str, list[int]] = {}
    for i in np.flatnonzero(pc.is_in(keys, value_set=wanted.unique()).to_numpy(zero_copy_only=False)):
        places.setdefault(keys[int(i)].as_py(), []).append(int(i))
    hits = []
    for near in found:
        scored = zip(near["key"].to_pylist(), near["_distance"].to_pylist(), strict=True)
        ordered = sorted((distance, i) for key, distance in scored for i in places.get(key, ()))
        hits.append([(int(rows[i]), 1.0 - distance) for distance, i in ordered[:k]])
    return hits
