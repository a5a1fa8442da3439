"""Whole folders at once: every file gives its passages, or one line that says why not.

Files of rows may be of any size: a large one comes in parts, each to be committed by itself, so that memory stays flat
and a run that was killed goes on with the part it had reached. Other files are read whole, some at a time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from rankrag.data.files import Row, located_rows
from rankrag.data.in_order import in_order
from rankrag.data.rows import parse_passage, passage_row
from rankrag.documents.chunking import split
from rankrag.documents.document import Document, Note, Section
from rankrag.documents.files import ROWS, kind
from rankrag.documents.parts import LAST, part_name
from rankrag.documents.readers import NoTextError
from rankrag.documents.workers import HERE, FileReader, Read, ReadSettings
from rankrag.errors import DataError
from rankrag.types import Passage, Source

PART_PASSAGES = 20_000
"""Passages of one part of a large file of rows."""

_COLUMNS = {"id", "text"}


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file's passages, the SHA-256 of its bytes, and what should be said about it.

    `problems` has a line for each row that cannot be used. `part` is empty for a whole file; a larger one of rows comes
    `PART_PASSAGES` passages at a time.
    """

    path: str
    sha256: str
    passages: tuple[Passage, ...]
    problems: tuple[str, ...] = ()
    part: str = ""
    notes: tuple[Note, ...] = ()

    @property
    def name(self) -> str:
        """The document's name in the index: the file's path, with the part below it."""
        return f"{self.path}/{self.part}" if self.part else self.path


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A file that has the SHA-256 it had when it was indexed."""

    path: str


@dataclass(frozen=True, slots=True)
class Failed:
    """A file that gives no passage, and why; `empty` where it could be read and holds no text any more."""

    path: str
    reason: str
    empty: bool = False


Outcome = Loaded | Unchanged | Failed


def load_documents(files: Sequence[Path], known: Mapping[str, str], reading: ReadSettings = HERE) -> Iterator[Outcome]:
    """Yield the outcome of each file, in order. `known` holds the SHA-256 of the indexed documents by name.

    Rows of `.jsonl` files that have `id` and `text`, by any of the names of `data.rows.passage_row`, are passages and
    stay whole; rows with `text` alone are documents.
    """
    with reading.reader() as read:
        begun = in_order(lambda path: _begun(path, known, read), files, at_once=max(1, reading.processes))
        for outcomes in begun:
            yield from outcomes


def _begun(path: Path, known: Mapping[str, str], read: FileReader) -> Iterator[Outcome]:
    """Return the outcomes of a file, which is read by now unless it holds rows: those are read as they are taken."""
    outcomes = _outcomes(path, known, read)
    return outcomes if kind(path) in ROWS else iter(list(outcomes))


def _outcomes(path: Path, known: Mapping[str, str], read: FileReader) -> Iterator[Outcome]:
    """Yield the outcomes of a file; an error becomes the last of them."""
    name = path.as_posix()
    try:
        name.encode()
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if known.get(name) == sha256 or known.get(f"{name}/{LAST}") == sha256:
            yield Unchanged(name)
        elif kind(path) in ROWS and _is_of_rows(path):
            yield from _parts(path, sha256, known)
        else:
            yield _whole(name, sha256, read(path))
    except UnicodeEncodeError:
        yield Failed(name, f"{name!a}: the file's name is not valid Unicode; rename it")
    except DataError as error:
        yield Failed(name, str(error), empty=isinstance(error, NoTextError))
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        yield Failed(name, f"{path}: cannot be read ({reason}); check its permissions")


def _whole(name: str, sha256: str, read: Read) -> Outcome:
    if not read.passages:
        return Failed(name, f"{name}: empty; there is nothing to index in it", empty=True)
    return Loaded(name, sha256, read.passages, notes=read.notes)


def _is_of_rows(path: Path) -> bool:
    """Whether the rows of a file are passages; a table without the columns id and text is a document."""
    if kind(path) != ".tsv":
        return True
    try:
        _, row = next(located_rows(path), ("", {}))
    except DataError:
        return False
    return set(row) >= _COLUMNS


def _parts(path: Path, sha256: str, known: Mapping[str, str]) -> Iterator[Loaded | Failed]:
    """Yield a file of rows, whole or in parts that are not known with this SHA-256."""
    name, problems = path.as_posix(), list[str]()
    passages = _rows(path, problems)
    number, part = 0, tuple(islice(passages, PART_PASSAGES))
    if not part:
        empty = f"{path}: empty; there is nothing to index in it"
        yield Failed(name, problems[0] if problems else empty, empty=not problems)
        return
    while part:
        following = tuple(islice(passages, PART_PASSAGES))
        place = part_name(number) if following else LAST
        loaded = Loaded(name, sha256, part, tuple(problems), place if number or following else "")
        if known.get(loaded.name) != sha256:
            yield loaded
        problems.clear()
        number, part = number + 1, following


def _rows(path: Path, problems: list[str]) -> Iterator[Passage]:
    """Yield the passages of a file of JSON Lines or of a table, as DPR's Wikipedia is; `problems` hears of bad rows."""
    seen: set[int] = set()  # hashes: a tenth of the memory that the ids themselves would take
    for where, row in located_rows(path, on_bad_row=lambda error: problems.append(str(error))):
        if ".tsv" in kind(path) and not set(row) >= _COLUMNS:
            raise DataError(f"{path}: its first line names {list(row)}, not id, text and perhaps title")
        try:
            for passage in _row(path, where, row):
                if hash(passage.id) in seen:
                    problems.append(f"{where}: id {passage.id!r} stands in an earlier line; ids must differ")
                    continue
                seen.add(hash(passage.id))
                yield passage
        except DataError as error:
            problems.append(str(error))


def _row(path: Path, where: str, row: Row) -> Iterable[Passage]:
    """Return the passages of a row: the row itself, or those of the document that it holds, which has its place."""
    row = passage_row(row)
    text = row.get("text")
    if isinstance(text, str) and not text.strip() and not str(row.get("title") or "").strip():
        raise DataError(f"{where}: the text is empty")
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: not valid Unicode ({error.reason}); write the file anew from its source") from None
    if isinstance(text, str) and "id" not in row:
        return split(Document(where, str(row.get("title") or path.stem), (Section(0, text),)))
    return [replace(parse_passage(row, where), source=Source(path.as_posix()))]
