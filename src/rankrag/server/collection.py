"""What can be asked: a collection is an index, the files that were uploaded to it, and a pipeline over both."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rankrag.pipeline import RankRAG
from rankrag.retrieval.homes import create_store
from rankrag.retrieval.places import is_remote, own_name

LOOK_EVERY = 1.0
"""Seconds for which an index is taken to be unchanged: another process may write to it at any time."""


@dataclass(frozen=True, slots=True)
class Document:
    """An indexed document: its id in addresses, the file or address it was read from, and how many passages it has."""

    id: str
    path: str
    passages: int

    @property
    def name(self) -> str:
        """Its name, as people know it."""
        return Path(self.path).name


def document_id(path: str) -> str:
    """Return a document's id in addresses: a digest of its path, so that no address can name another file."""
    return hashlib.sha256(path.encode()).hexdigest()[:20]


class Collection:
    """One index, and the pipeline over its newest state.

    Args:
        name: of the collection.
        index: a folder, or an address.
        beside: path whose name, with an ending, names what clients send: uploaded files and feedback.
        deletable: whether clients may delete it.
    """

    def __init__(self, name: str, index: Path | str, beside: Path, *, deletable: bool) -> None:
        self.name, self.index, self.deletable = name, index, deletable
        self.files = beside.with_name(beside.name + ".files")
        self.feedback = beside.with_name(beside.name + ".feedback.jsonl")
        self.store = create_store(index)
        self._lock = threading.Lock()
        self._looked = 0.0
        self._version: object = None
        self._listed: object = None
        self._pipeline: RankRAG | None = None
        self._documents: dict[str, Document] = {}

    def may_read(self, path: Path) -> bool:
        """Whether the file of a document may be read here.

        Other machines write to an address too: their paths may name nothing here, or files that are not for clients.
        """
        return not is_remote(self.index) or path.parent == self.files.absolute()

    def pipeline(self, make: Callable[[Path | str], RankRAG]) -> RankRAG:
        """Return the pipeline over the index as it is now, or was a second ago."""
        with self._lock:
            now = time.monotonic()
            if self._pipeline is None or now - self._looked >= LOOK_EVERY:
                self._looked, version = now, self.store.version()
                if self._pipeline is None or version != self._version:
                    self._version, self._pipeline = version, make(self.index)
            return self._pipeline

    def documents(self) -> dict[str, Document]:
        """Return the indexed documents, by id."""
        version = self.store.version()
        with self._lock:
            if version != self._listed:
                found = [Document(document_id(s.path), s.path, s.passages) for s in self.store.sources()]
                self._listed, self._documents = version, {document.id: document for document in found}
            return dict(self._documents)


def name_of(index: Path | str) -> str:
    """Return a collection's name: the index's own name without `.index`, in small letters."""
    stem = own_name(index).removesuffix(".index").lower()
    return re.sub(r"[^a-z0-9_-]+", "-", stem).strip("-_") or "index"
