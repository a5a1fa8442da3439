"""Whole folders at once: every file gives its passages, or one line that says why not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rankrag.documents.chunking import Document, Section, split
from rankrag.documents.readers import ROWS, kind, read_document
from rankrag.errors import DataError
from rankrag.jsonl import parse_passage, read_rows
from rankrag.types import Passage, Source


@dataclass(frozen=True, slots=True)
class Loaded:
    """A document's passages, the SHA-256 of its bytes, and a line for each of its rows that could not be used."""

    path: str
    sha256: str
    passages: tuple[Passage, ...]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A file that has the SHA-256 it had when it was indexed."""

    path: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A file that cannot be read, and why."""

    path: str
    reason: str


def load_documents(files: Sequence[Path], known: Mapping[str, str]) -> Iterator[Loaded | Unchanged | Failed]:
    """Yield the outcome of each file, in order. `known` holds the SHA-256 of indexed files by path.

    Rows of `.jsonl` files that have `id` and `text` are passages and stay whole; rows with `text` alone are documents.
    """
    for path in files:
        name = path.as_posix()
        try:
            with path.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            if known.get(name) == sha256:
                yield Unchanged(name)
                continue
            problems: list[str] = []
            passages = tuple(_rows(path, problems) if kind(path) in ROWS else split(read_document(path)))
            if not passages:
                reason = problems[0] if problems else f"{path}: empty; there is nothing to index in it"
                yield Failed(name, reason)
                continue
            yield Loaded(name, sha256, passages, tuple(problems))
        except DataError as error:
            yield Failed(name, str(error))
        except (OSError, MemoryError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            yield Failed(name, f"{path}: cannot be read ({reason}); check its permissions")


def _rows(path: Path, problems: list[str]) -> Iterator[Passage]:
    for line, row in read_rows(path, lambda error: problems.append(str(error))):
        where = f"{path}:{line}"
        text = row.get("text")
        if isinstance(text, str) and not text.strip():
            problems.append(f"{where}: the text is empty")
        elif isinstance(text, str) and "id" not in row and "_id" not in row:
            name, title = f"{path.as_posix()}:{line}", str(row.get("title") or path.stem)
            yield from split(Document(name, title, text, (Section(0, len(text)),)))
        else:
            try:
                passage = parse_passage(row, where)
            except DataError as error:
                problems.append(str(error))
            else:
                yield Passage(passage.id, passage.text, passage.title, Source(path.as_posix()))
