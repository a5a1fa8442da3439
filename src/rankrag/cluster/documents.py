"""Documents read and passages encoded by the workers of a cluster, for `rankrag index`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from rankrag.cluster.actors import Held, Say, Workers
from rankrag.cluster.address import parse_cluster
from rankrag.cluster.places import same_anywhere
from rankrag.data.in_order import AHEAD, in_order
from rankrag.documents.workers import Read, Readers, ReadSettings
from rankrag.errors import ModelError
from rankrag.retrieval.encoder import Encoder, PassageEncoder, Vectors
from rankrag.types import Passage

_AT_ONCE = 64
"""Passages in one call of a worker, as many as `rankrag index` encodes at once by itself."""


class ClusterEncoder:
    """An encoder that every worker holds; its vectors are those of one that encodes as many passages at once."""

    def __init__(self, held: Held[Encoder]) -> None:
        self._held = held
        self.name, self.similarity = held(_described)

    @property
    def at_once(self) -> int:
        """Passages that keep all workers busy."""
        return _AT_ONCE * AHEAD * self._held.size

    def encode_passages(self, passages: Sequence[Passage]) -> Vectors:
        """Return one vector a passage, float32 `[passages, dim]`."""
        parts = [passages[start : start + _AT_ONCE] for start in range(0, len(passages), _AT_ONCE)]
        return np.concatenate(list(in_order(partial(self._held, _encode), parts, at_once=self._held.size)))


class IndexingCluster:
    """The workers of one `rankrag index`, which first read and then encode."""

    def __init__(self, ray: str, say: Say) -> None:
        self._workers = Workers(parse_cluster(ray), say=say)

    def reading(self, *, ocr: bool) -> ReadSettings:
        """Return how documents are read: by the workers, each with a process for files that hang or crash it."""
        held = self._workers.hold("the readers of documents", partial(_readers, ReadSettings(ocr=ocr, processes=1)))
        return ReadSettings(ocr=ocr, processes=held.size, elsewhere=partial(held, _read))

    def encoder(self, name: str | None) -> ClusterEncoder:
        """Return the encoder with that name, or all-MiniLM-L6-v2."""
        opened = partial(_encoder, same_anywhere(name) if name else None)
        return ClusterEncoder(self._workers.hold(f"encoder {name or ''}".strip(), opened))


def _readers(settings: ReadSettings, _say: Say) -> Readers:
    return Readers(settings)


def _read(readers: Readers, path: Path) -> Read:
    if not path.exists():
        raise ModelError(f"{path} is not there; documents must be at the same place on every node: mount their folder")
    return readers(path)


def _encoder(name: str | None, _say: Say) -> Encoder:
    return Encoder(name)


def _described(encoder: Encoder) -> tuple[str, str]:
    return encoder.name, encoder.similarity


def _encode(encoder: PassageEncoder, passages: Sequence[Passage]) -> Vectors:
    return encoder.encode_passages(passages)
