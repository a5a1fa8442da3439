"""An index brought up to date with files: new and changed ones in, those that are gone out."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from rankrag.data.progress import Progress, quiet
from rankrag.documents.document import Note
from rankrag.documents.files import find_files
from rankrag.documents.loading import Failed, Loaded, Outcome, load_documents
from rankrag.documents.parts import LAST, IndexedSource, SourcePassages, file_of
from rankrag.documents.workers import HERE, ReadSettings
from rankrag.errors import DataError

BATCH_PASSAGES = 10_000
"""Passages that are committed together."""

REMOVED_AT_ONCE = 1_000
"""Documents that are taken out together."""


class Index(Protocol):
    """The part of an index (`retrieval.homes.Store`) that changes."""

    def sources(self) -> list[IndexedSource]:
        """Return the indexed documents."""
        ...

    def put(self, batch: Sequence[SourcePassages]) -> None:
        """Replace all passages of these documents, or add them."""
        ...

    def remove(self, *names: str) -> int:
        """Take documents out."""
        ...

    def refresh(self) -> None:
        """Bring the indices up to date."""
        ...


@dataclass(slots=True)
class Summary:
    """The outcome of indexing, file by file.

    `left_out` and `kept` say why a file is not in the index, or only as it was before. `notes` are about files that
    are. Of the unchanged files, `remembered` lost text when they were read; `refused` files would have, with `strict`.
    """

    read: set[str] = field(default_factory=set)
    unchanged: int = 0
    gone: int = 0
    left_out: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    notes: dict[str, tuple[Note, ...]] = field(default_factory=dict)
    remembered: int = 0
    refused: int = 0
    passed_over: Counter[str] = field(default_factory=Counter)

    @property
    def is_empty(self) -> bool:
        """Whether no file at all is or was in the index."""
        return not (self.read or self.unchanged or self.gone or self.kept)

    @property
    def losses(self) -> list[str]:
        """Files of which some text is not in the index, each with what is missing."""
        return [f"{path}: {note.text}" for path, notes in self.notes.items() for note in notes if note.lost]


def bring_up_to_date(
    index: Index,
    paths: Sequence[Path],
    *,
    reading: ReadSettings = HERE,
    strict: bool = False,
    progress: Progress = quiet,
) -> Summary:
    """Bring the index up to date with the files below `paths`; return what happened to them.

    A document's name is its file's absolute path, the same from any folder. With `strict`, a file that loses text
    is left out.
    """
    found = find_files(paths)
    files = tuple(dict.fromkeys(Path(os.path.abspath(file)) for file in found.files))
    sizes = {path.as_posix(): os.path.getsize(path) if os.path.isfile(path) else 0 for path in files}
    update = _Update(index, strict)
    update.summary.passed_over = found.passed_over
    characters = 0
    for outcome in load_documents(files, update.known.sha256, reading):
        update.take(outcome)
        if isinstance(outcome, Loaded) and outcome.part:
            characters += sum(len(passage.text) for passage in outcome.passages)
        else:
            characters += sizes[outcome.path]
        progress("Reading", characters // 1024, sum(sizes.values()) // 1024)
    update.end(paths)
    return update.summary


class _Update:
    """Outcomes on their way into an index."""

    def __init__(self, index: Index, strict: bool) -> None:
        self.summary = Summary()
        self.known = _Known(index)
        self._index, self._strict = index, strict
        self._held: list[SourcePassages] = []
        self._failed: list[Failed] = []
        self._emptied = 0
        self._clashing: set[str] = set()  # files of which a passage's id is another file's

    def take(self, outcome: Outcome) -> None:
        """Take in one outcome; passages are committed many at a time."""
        if isinstance(outcome, Loaded):
            self._loaded(outcome)
        elif isinstance(outcome, Failed):
            self._failed.append(outcome)
            self._emptied += outcome.empty and self.known.remove_file(outcome.path)
        else:
            self.summary.unchanged += 1
            if notes := self.known.notes.get(outcome.path):
                self.summary.remembered += any(note.lost for note in notes)
        if sum(len(document.passages) for document in self._held) >= BATCH_PASSAGES:
            self._put_held()

    def end(self, paths: Sequence[Path]) -> None:
        """Commit the rest, take out files that are gone, and make the index quick to search."""
        self._put_held()
        summary = self.summary
        summary.gone = self._emptied + self.known.remove_missing(paths)
        if summary.read or summary.gone:
            self._index.refresh()
        for outcome in self._failed:
            (summary.kept if self.known.holds(outcome.path) else summary.left_out).append(outcome.reason)
        if self.known.unseen:
            name, reason = next(iter(self.known.unseen.items()))
            more = f", and {len(self.known.unseen) - 1} more" if len(self.known.unseen) > 1 else ""
            summary.kept.append(f"{name}: cannot be looked at ({reason}){more}; check permissions.")

    def _loaded(self, outcome: Loaded) -> None:
        lost = [note.text for note in outcome.notes if note.lost]
        if self._strict and (lost or outcome.problems):
            reasons = "; ".join([*lost, *outcome.problems[:3]])
            self._failed.append(Failed(outcome.path, f"{outcome.path}: {reasons} (--strict)"))
            self.summary.refused += 1
            return
        self.summary.read.add(outcome.path)
        self.summary.left_out += outcome.problems
        if outcome.notes:
            self.summary.notes[outcome.path] = outcome.notes
        self.known.remove_stale(outcome)
        if outcome.part != LAST or outcome.path not in self._clashing:  # else the next run would pass it over
            notes = (*outcome.notes, *(Note(_row_problem(problem, outcome.path)) for problem in outcome.problems[:20]))
            self._held.append(SourcePassages(outcome.name, outcome.sha256, outcome.passages, notes))

    def _put_held(self) -> None:
        clashes = _put(self._index, self._held)
        self.summary.left_out.extend(clashes.values())
        self._clashing.update(map(file_of, clashes))
        self._held.clear()


def _row_problem(problem: str, path: str) -> str:
    """Return what is wrong with a row without the path of its file."""
    return problem.removeprefix(f"{path}:").removeprefix(" ")


def _put(index: Index, documents: list[SourcePassages]) -> dict[str, str]:
    """Put documents in one commit; where an id clashes, one by one, so that the others get in.

    Return why others are left out, by their names.
    """
    if not documents:
        return {}
    try:
        index.put(documents)
    except DataError as error:
        if len(documents) == 1:
            return {documents[0].path: str(error)}
        return {name: why for document in documents for name, why in _put(index, [document]).items()}
    return {}


class _Known:
    """The documents that were in the index before, by file."""

    def __init__(self, index: Index) -> None:
        sources = index.sources()
        self.sha256 = {source.path: source.sha256 for source in sources}
        self.unseen: dict[str, str] = {}  # why, by file
        self.notes: dict[str, tuple[Note, ...]] = {}
        self._index = index
        self._names: dict[str, list[str]] = defaultdict(list)
        for source in sources:
            path = file_of(source.path)
            self._names[path].append(source.path)
            if source.notes:
                self.notes[path] = (*self.notes.get(path, ()), *source.notes)

    def holds(self, path: str) -> bool:
        """Whether a file is in the index as it was before."""
        return bool(self._of_file(path))

    def remove_file(self, path: str) -> bool:
        """Take out a file with all its parts; return whether it was there."""
        found = self._of_file(path)
        self._remove(found)
        return bool(found)

    def remove_stale(self, loaded: Loaded) -> None:
        """Take out the documents that the file gave when it had other bytes or came in other parts."""
        stale = [name for name in self._of_file(loaded.path) if name != loaded.name]
        self._remove(name for name in stale if self.sha256[name] != loaded.sha256)

    def remove_missing(self, paths: Sequence[Path]) -> int:
        """Take out the files below the given folders that are no longer there; return how many.

        Files that cannot be looked at stay, and go into `unseen`.
        """
        gone: list[str] = []
        folders = tuple(f"{os.path.abspath(path).rstrip('/')}/" for path in paths if os.path.isdir(path))
        for name in [name for name in self.sha256 if name.startswith(folders)]:
            try:
                os.stat(file_of(name))
            except (FileNotFoundError, NotADirectoryError):
                gone.append(name)
            except OSError as error:
                self.unseen[file_of(name)] = error.strerror or str(error)
        self._remove(gone)
        return len(set(map(file_of, gone)))

    def _of_file(self, path: str) -> list[str]:
        return [name for name in self._names.get(path, ()) if name in self.sha256]

    def _remove(self, names: Iterable[str]) -> None:
        """Take documents out, last parts first: a file of which a kill leaves some parts is read again."""
        ordered = sorted(names, key=lambda name: not name.endswith(f"/{LAST}"))
        for start in range(0, len(ordered), REMOVED_AT_ONCE):
            self._index.remove(*ordered[start : start + REMOVED_AT_ONCE])
        for name in ordered:
            del self.sha256[name]
