"""Documents as an index holds them, each under its file's path; a large file of rows is in several parts."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from rankrag.documents.document import Note
from rankrag.types import Passage

LAST = "end"
"""The name of a file's last part: where it is in the index, all parts are."""

_PART = re.compile(rf"/(?:\d{{6,}}|{LAST})$")


@dataclass(frozen=True, slots=True)
class SourcePassages:
    """A document to be indexed: its path, the SHA-256 of its bytes, all its passages, and what was said about it."""

    path: str
    sha256: str
    passages: tuple[Passage, ...]
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class IndexedSource:
    """A document in the index: the SHA-256 it had, and the number of its passages and of those that have a vector."""

    path: str
    sha256: str
    passages: int
    embedded: int
    notes: tuple[Note, ...] = ()


def part_name(number: int) -> str:
    """Return the name of a part that is not the last one; parts are numbered from 0."""
    return f"{number:06d}"


def file_of(name: str) -> str:
    """Return the path of the file that a document is, or is a part of."""
    return _PART.sub("", name)


def by_file(sources: Iterable[IndexedSource]) -> list[IndexedSource]:
    """Return the documents with the parts of each file as one, which has the SHA-256 of its last part."""
    files: dict[str, IndexedSource] = {}
    for source in sources:
        path = file_of(source.path)
        earlier = files.get(path, IndexedSource(path, "", 0, 0))
        passages, embedded = earlier.passages + source.passages, earlier.embedded + source.embedded
        files[path] = IndexedSource(path, source.sha256, passages, embedded, earlier.notes + source.notes)
    return list(files.values())
