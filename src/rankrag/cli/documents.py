"""`rankrag index`: documents in, an index on disk."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from rankrag.cli import options
from rankrag.cli.options import say
from rankrag.cluster.documents import IndexingCluster
from rankrag.config.answering import AskConfig
from rankrag.documents.indexing import Summary, bring_up_to_date
from rankrag.documents.parts import by_file
from rankrag.documents.workers import ReadSettings
from rankrag.errors import ConfigError, DataError, IndexStoreError
from rankrag.opening import model_of
from rankrag.retrieval.encoder import Encoder, PassageEncoder
from rankrag.retrieval.homes import Store, create_store, open_store

_NOTES_SHOWN = 20
_ENCODED_AT_ONCE = 64  # also for a worker of a cluster (cluster.documents): then vectors are the same to the last bit

Paths = Annotated[
    list[Path] | None,
    typer.Argument(help="Files and folders; docs/documents.md lists the formats.", show_default=False),
]
Out = Annotated[
    str,
    options.index_option("--out", "--index", "-o", "-i", text=f"{options.INDEX_HELP} Made where missing."),
]
Listing = Annotated[bool, typer.Option("--list", help="Show what is in the index, and what could not be read of it.")]
Remove = Annotated[list[str] | None, typer.Option(help="Take a document, or a whole folder, out of the index.")]
NoVectors = Annotated[bool, typer.Option("--no-vectors", help="Leave the vectors for later; BM25 needs none.")]
Strict = Annotated[bool, typer.Option("--strict", help="Leave out files that cannot be read whole, and fail.")]
States = Annotated[
    bool,
    typer.Option(
        "--states",
        help="Let --model read all passages ahead, so that questions judge them three to four times as fast; says "
        "first what that takes. For small indexes: 4 GiB of states are kept.",
    ),
]
StatesGib = Annotated[
    float | None, typer.Option(min=0.1, help="With --states: GiB of states that the index may hold from now on.")
]
Ocr = Annotated[bool, typer.Option("--ocr", help="Read scanned pages of PDFs with ocrmypdf or tesseract.")]


@options.with_options(AskConfig, "encoder", "model", "device", "dtype", "ray")
def index(
    paths: Paths = None,
    *,
    out: Out = options.DEFAULT_INDEX,
    list_: Listing = False,
    remove: Remove = None,
    no_vectors: NoVectors = False,
    strict: Strict = False,
    ocr: Ocr = False,
    states: States = False,
    states_gib: StatesGib = None,
    given: options.Given,
) -> None:
    """Index documents, or bring an index up to date.

    Unchanged files are skipped, and files that are gone are taken out, from whatever folder this is run. If it is
    killed, the same command goes on. --model, --device and --dtype are those of --states.
    """
    if not paths and not list_ and not remove and not states:
        raise ConfigError(
            "index takes files or folders, or --list, --remove SOURCE or --states; see rankrag index --help"
        )
    of_model = {key: given[key] for key in ("model", "device", "dtype") if key in given}
    for_states = [*of_model, *(["states-gib"] if states_gib else [])]
    if for_states and not states:
        raise ConfigError(f"--{for_states[0]} is for --states, which is not given")
    if not all(remove or ()):
        raise ConfigError(
            "--remove got an empty name, which would mean all of this folder; name a document or a folder"
        )
    for source in remove or ():
        removed = open_store(out).remove(os.path.abspath(source), os.path.normpath(source))
        say(f"Removed {source}: {removed} passages.")
    if paths:
        fresh = _is_new(out)
        cluster = IndexingCluster(given["ray"], say) if "ray" in given else None
        store = create_store(out)
        try:
            _update(store, paths, cluster, strict=strict, ocr=ocr)
            if not no_vectors:
                _fill_vectors(store, given.get("encoder"), cluster)
        except KeyboardInterrupt:
            say(f"\nInterrupted. {len(store)} passages are safe in {out}; the same command goes on from there.")
            raise typer.Exit(130) from None
        except DataError:
            if fresh:
                store.discard_empty()
            raise
    elif remove:
        open_store(out).refresh()
    if states:
        _make_states(out, AskConfig(**of_model), states_gib)
    if list_:
        _print_list(open_store(out))


def _is_new(place: str) -> bool:
    try:
        open_store(place)
    except IndexStoreError:
        return True
    return False


def _update(store: Store, paths: list[Path], cluster: IndexingCluster | None, *, strict: bool, ocr: bool) -> None:
    """Bring the index up to date and say what happened to the files."""
    here = ReadSettings(ocr=ocr, processes=min(2, os.cpu_count() or 1))
    reading = here if cluster is None else cluster.reading(ocr=ocr)
    with options.step_lines(passing=True) as progress:
        summary = bring_up_to_date(store, paths, reading=reading, strict=strict, progress=progress)
    _say_summary(summary)
    if summary.is_empty:
        raise DataError(
            f"nothing could be indexed: none of {len(summary.left_out)} files gave a passage; the lines above say why"
        )
    say(
        f"{len(summary.read)} documents read, {summary.unchanged} unchanged, {summary.gone} gone; "
        f"the index holds {len(store)} passages."
    )
    if strict and (summary.refused or summary.remembered):
        raise DataError(
            f"--strict: {summary.refused + summary.remembered} files cannot be read whole; the lines above and "
            "rankrag index --list say what is missing"
        )


def _say_summary(summary: Summary) -> None:
    for reason in summary.left_out:
        say(f"Left out: {options.shown(reason)}")
    for reason in summary.kept:
        say(f"Kept as it was indexed: {options.shown(reason)}")
    lost = [f"Not read: {options.shown(line)}" for line in summary.losses]
    guessed = [
        f"Guessed: {options.shown(path)}: {note.text}"
        for path, notes in summary.notes.items()
        for note in notes
        if not note.lost
    ]
    for lines in (lost, guessed):
        for line in lines[:_NOTES_SHOWN]:
            say(line)
        if len(lines) > _NOTES_SHOWN:
            say(f"… and {len(lines) - _NOTES_SHOWN} more; rankrag index --list shows all.")
    if summary.remembered:
        say(f"{summary.remembered} unchanged documents are not in the index whole; rankrag index --list says why.")
    if summary.passed_over:
        kinds = ", ".join(f"{count} {name}" for name, count in summary.passed_over.most_common(5))
        say(f"Passed over files of other kinds: {kinds}.")


def _fill_vectors(store: Store, encoder: str | None, cluster: IndexingCluster | None) -> None:
    if reason := store.why_no_vectors():
        say(reason)
        return
    missing = store.missing_vectors()
    if not missing:
        return
    made_by: PassageEncoder
    if cluster is None:
        made_by, at_once = Encoder(encoder), _ENCODED_AT_ONCE
    else:
        made_by = on_cluster = cluster.encoder(encoder)
        at_once = on_cluster.at_once
    with options.step_lines(passing=True) as step:
        filled = store.fill_vectors(made_by, lambda _, done, __: step("Vectors", done, missing), batch=at_once)
    store.refresh()
    say(f"{filled} vectors made.")


def _make_states(out: str, config: AskConfig, gib: float | None) -> None:
    """Let a model read all passages ahead."""
    from rankrag.models.ahead import make_states

    passages = open_store(out).passages()
    model = model_of(config, index=out, say=say)
    with options.step_lines() as progress:
        try:
            made = make_states(model, passages, gib, say, progress)
        except KeyboardInterrupt:
            say("\nInterrupted. The states that were made are kept; the same command goes on from there.")
            raise typer.Exit(130) from None
    say(f"{made} states made.")


def _print_list(store: Store) -> None:
    files = by_file(store.sources())
    table = Table(box=None, pad_edge=False)
    table.add_column("document")
    table.add_column("passages", justify="right")
    table.add_column("vectors", justify="right")
    table.add_column("not read, or guessed")
    for file in files:
        notes = "; ".join(note.text for note in file.notes)
        table.add_row(options.shown(file.path), str(file.passages), str(file.embedded), notes)
    names = max((len(file.path) for file in files), default=0)
    notes_width = max((sum(len(note.text) + 2 for note in file.notes) for file in files), default=0)
    width = 60 + names + notes_width  # names whole, on any screen and in a pipe
    Console(width=width, markup=False, highlight=False).print(table)
    say(f"{len(files)} documents, {len(store)} passages, encoder: {store.encoder_name() or 'no vectors yet'}.")
