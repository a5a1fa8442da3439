"""`rankrag index`: documents in, an index on disk."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankrag.cli import options
from rankrag.cli.options import say
from rankrag.documents.parts import LAST, file_of
from rankrag.errors import ConfigError, DataError

if TYPE_CHECKING:
    from rankrag.documents.loading import Loaded
    from rankrag.retrieval.snapshot import SourcePassages
    from rankrag.retrieval.store import PassageStore

_BATCH_PASSAGES = 2_000
_REMOVED_AT_ONCE = 1_000  # documents

Paths = Annotated[
    list[Path] | None, typer.Argument(help="Files and folders: txt md html pdf docx jsonl.", show_default=False)
]
Out = Annotated[Path, typer.Option("--out", "--index", "-o", "-i", help="Folder of the index; made where missing.")]
Listing = Annotated[bool, typer.Option("--list", help="Show what is in the index.")]
Remove = Annotated[list[str] | None, typer.Option(help="Take a document, or a whole folder, out of the index.")]
NoVectors = Annotated[bool, typer.Option("--no-vectors", help="Leave the vectors for later; BM25 needs none.")]


def index(
    paths: Paths = None,
    *,
    out: Out = options.DEFAULT_INDEX,
    list_: Listing = False,
    remove: Remove = None,
    no_vectors: NoVectors = False,
    encoder: options.EncoderDir = None,
) -> None:
    """Index documents, or bring an index up to date.

    Unchanged files are skipped, those that are gone are taken out, from whatever folder this is run. Killed in the
    middle, it goes on when run again.
    """
    if not paths and not list_ and not remove:
        raise ConfigError("index takes files or folders, or --list, or --remove SOURCE; see rankrag index --help")
    if not all(remove or ()):
        raise ConfigError(
            "--remove got an empty name, which would mean all of this folder; name a document or a folder"
        )
    from rankrag.retrieval.store import PassageStore

    for source in remove or ():
        removed = PassageStore.open(out).remove(os.path.abspath(source), os.path.normpath(source))
        say(f"Removed {source}: {removed} passages.")
    if paths:
        fresh = not out.is_dir() or not any(out.iterdir())
        store = PassageStore.create_or_open(out)
        try:
            bring_up_to_date(store, paths)
            if not no_vectors:
                _fill_vectors(store, encoder)
        except KeyboardInterrupt:
            say(f"\nInterrupted. {len(store)} passages are safe in {out}; the same command goes on from there.")
            raise typer.Exit(130) from None
        except DataError:
            if fresh:
                store.discard_empty()
            raise
    elif remove:
        PassageStore.open(out).refresh()
    if list_:
        _print_list(PassageStore.open(out))


def bring_up_to_date(store: PassageStore, paths: list[Path]) -> None:
    """Bring the index up to date with the files: new and changed ones in, those that are gone out.

    A document's name is its file's absolute path, so that it is the same from any folder.
    """
    from rankrag.documents.loading import Failed, Loaded, load_documents
    from rankrag.documents.readers import find_files
    from rankrag.retrieval.snapshot import SourcePassages

    found = find_files(paths)
    files = tuple(dict.fromkeys(Path(os.path.abspath(file)) for file in found.files))
    known = _Known(store)
    new: set[str] = set()
    unchanged = emptied = characters = 0
    failures: list[str] = []
    incomplete: set[str] = set()
    failed: list[Failed] = []
    held: list[SourcePassages] = []

    def put_held() -> None:
        clashes = _put(store, held)
        failures.extend(clashes.values())
        incomplete.update(map(file_of, clashes))
        held.clear()

    sizes = {path.as_posix(): os.path.getsize(path) if os.path.isfile(path) else 0 for path in files}
    with options.progress_bar("Reading", sum(sizes.values()) // 1024, unit="kB") as show:
        for outcome in load_documents(files, known.sha256):
            read = sizes[outcome.path]
            if isinstance(outcome, Loaded):
                read = sum(len(passage.text) for passage in outcome.passages) if outcome.part else read
                new.add(outcome.path)
                failures += outcome.problems
                known.remove_stale(outcome)
                if outcome.part != LAST or outcome.path not in incomplete:  # else the next run would pass it over
                    held.append(SourcePassages(outcome.name, outcome.sha256, outcome.passages))
            elif isinstance(outcome, Failed):
                failed.append(outcome)
                emptied += outcome.empty and known.remove_file(outcome.path)
            else:
                unchanged += 1
            if sum(len(document.passages) for document in held) >= _BATCH_PASSAGES:
                put_held()
            characters += read
            show(characters // 1024)
    put_held()
    gone = emptied + known.remove_missing(paths)
    if new or gone:
        store.refresh()
    for failure in failures:
        say(f"Left out: {options.shown(failure)}")
    kept = [known.holds(outcome.path) for outcome in failed]
    for outcome, held_before in zip(failed, kept, strict=True):
        say(f"{'Kept as it was indexed' if held_before else 'Left out'}: {options.shown(outcome.reason)}")
    if known.unseen:
        name, reason = next(iter(known.unseen.items()))
        more = f", and {len(known.unseen) - 1} more" if len(known.unseen) > 1 else ""
        say(f"Kept as it was indexed: {options.shown(name)}: cannot be looked at ({reason}){more}; check permissions.")
    if elsewhere := known.elsewhere(paths):
        say(
            f"{elsewhere} documents have names from a folder that is not this one, as an earlier rankrag stored them; "
            "index them from there, or take them out with --remove (--list shows them)."
        )
    if found.passed_over:
        kinds = ", ".join(f"{count} {name}" for name, count in found.passed_over.most_common(5))
        say(f"Passed over files of other kinds: {kinds}.")
    if not (new or unchanged or gone or any(kept)):
        raise DataError(f"nothing could be indexed: none of {len(files)} files gave a passage; the lines above say why")
    say(f"{len(new)} documents read, {unchanged} unchanged, {gone} gone; the index holds {len(store)} passages.")


def _put(store: PassageStore, documents: list[SourcePassages]) -> dict[str, str]:
    """Put documents in one commit; where an id clashes, one by one, so that the others get in.

    Return why others are left out, by their names.
    """
    if not documents:
        return {}
    try:
        store.put(documents)
    except DataError as error:
        if len(documents) == 1:
            return {documents[0].path: str(error)}
        return {name: why for document in documents for name, why in _put(store, [document]).items()}
    return {}


class _Known:
    """What was in the index, by the files it is of.

    A relative name, which an earlier rankrag stored, is taken to begin at the current folder, and gives way to the
    absolute one when its file is read. It is not taken for gone before one of them was found here, with the same bytes:
    it may have been meant from another folder.
    """

    def __init__(self, store: PassageStore) -> None:
        self.sha256 = {source.path: source.sha256 for source in store.sources()}
        self.unseen: dict[str, str] = {}  # why, by name
        self._store = store
        self._here = False
        self._names: dict[str, list[str]] = defaultdict(list)
        for name in self.sha256:
            self._names[os.path.abspath(file_of(name))].append(name)

    def holds(self, path: str) -> bool:
        """Whether a file stands in the index as it was before."""
        return bool(self._of_file(path))

    def remove_file(self, path: str) -> bool:
        """Take out a file with all its parts; return whether it was there."""
        found = self._of_file(path)
        self._remove(found)
        return bool(found)

    def remove_stale(self, loaded: Loaded) -> None:
        """Take out what the file gave when it had other bytes, came in other parts, or had a relative name."""
        of_file = [name for name in self._of_file(loaded.path) if name != loaded.name]
        relative = [name for name in of_file if not os.path.isabs(name)]
        self._here = self._here or any(self.sha256[name] == loaded.sha256 for name in relative)
        self._remove(name for name in of_file if name in relative or self.sha256[name] != loaded.sha256)

    def remove_missing(self, paths: list[Path]) -> int:
        """Take out the files below the given folders that are no longer there; return how many.

        Those of which that cannot be told stay, and go into `unseen`.
        """
        gone: list[str] = []
        for name in self._below(paths):
            try:
                os.stat(file_of(name))
            except (FileNotFoundError, NotADirectoryError):
                if os.path.isabs(name) or self._here:
                    gone.append(name)
            except OSError as error:
                self.unseen[file_of(name)] = error.strerror or str(error)
        self._remove(gone)
        return len(set(map(file_of, gone)))

    def elsewhere(self, paths: list[Path]) -> int:
        """Return how many files with relative names are not there below the given folders."""
        relative = {file_of(name) for name in self._below(paths) if not os.path.isabs(name)}
        return sum(not os.path.exists(file) for file in relative)

    def _of_file(self, path: str) -> list[str]:
        return [name for name in self._names.get(path, ()) if name in self.sha256]

    def _below(self, paths: list[Path]) -> list[str]:
        folders = tuple(f"{os.path.abspath(path).rstrip('/')}/" for path in paths if os.path.isdir(path))
        return [name for name in self.sha256 if os.path.abspath(name).startswith(folders)]

    def _remove(self, names: Iterable[str]) -> None:
        """Take documents out, last parts first: a file of which a kill leaves some parts is read again."""
        ordered = sorted(names, key=lambda name: not name.endswith(f"/{LAST}"))
        for start in range(0, len(ordered), _REMOVED_AT_ONCE):
            self._store.remove(*ordered[start : start + _REMOVED_AT_ONCE])
        for name in ordered:
            del self.sha256[name]


def _fill_vectors(store: PassageStore, encoder: Path | None) -> None:
    missing = store.missing_vectors()
    if not missing:
        return
    from rankrag.retrieval.encoder import Encoder

    with options.progress_bar("Vectors", missing, unit="passages") as show:
        filled = store.fill_vectors(Encoder(encoder), lambda _, done, __: show(done), batch=64)
    store.refresh()
    say(f"{filled} vectors made.")


def _print_list(store: PassageStore) -> None:
    from rich.console import Console
    from rich.table import Table

    from rankrag.retrieval.snapshot import by_file

    files = by_file(store.sources())
    table = Table(box=None, pad_edge=False)
    table.add_column("document")
    table.add_column("passages", justify="right")
    table.add_column("vectors", justify="right")
    for file in files:
        table.add_row(options.shown(file.path), str(file.passages), str(file.embedded))
    width = 40 + max((len(file.path) for file in files), default=0)  # names whole, on any screen and in a pipe
    Console(width=width, markup=False, highlight=False).print(table)
    say(f"{len(files)} documents, {len(store)} passages, encoder: {store.encoder_name() or 'no vectors yet'}.")
