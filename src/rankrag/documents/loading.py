"""Whole folders at once: every file gives its passages, or one line that says why not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rankrag.documents.chunking import Document, Section, split
from rankrag.documents.readers import ROWS, kind, read_document
from rankrag.errors import DataError
from rankrag.jsonl import Row, parse_passage, read_rows
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
            name.encode()
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
        except UnicodeEncodeError:
            yield Failed(name, f"{name!a}: the file's name is not valid Unicode; rename it")
        except (OSError, MemoryError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            yield Failed(name, f"{path}: cannot be read ({reason}); check its permissions")


def _rows(path: Path, problems: list[str]) -> Iterator[Passage]:
    """Yield the passages of a `.jsonl` file; tell `problems` of the rows that cannot be used."""
    seen: set[str] = set()
    for line, row in read_rows(path, lambda error: problems.append(str(error))):
        where = f"{path}:{line}"
        try:
            for passage in _row(path, line, row):
                if passage.id in seen:
                    problems.append(f"{where}: id {passage.id!r} stands in an earlier line; ids must differ")
                    continue
                seen.add(passage.id)
                yield passage
        except DataError as error:
            problems.append(str(error))


def _row(path: Path, line: int, row: Row) -> Iterable[Passage]:
    """Return the passages of a row: the one that it is, or those of the document that it holds."""
    where, text = f"{path}:{line}", row.get("text")
    if isinstance(text, str) and not text.strip():
        raise DataError(f"{where}: the text is empty")
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: not valid Unicode ({error.reason}); write the file anew from its source") from None
    if isinstance(text, str) and "id" not in row and "_id" not in row:
        name, title = f"{path.as_posix()}:{line}", str(row.get("title") or path.stem)
        return split(Document(name, title, text, (Section(0, len(text)),)))
    return [replace(parse_passage(row, where), source=Source(path.as_posix()))]
