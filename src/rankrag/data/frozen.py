"""Frozen runs: what a retriever found, kept with its passages, so that nobody needs its index to check a number.

A run `NAME.trec` or `NAME.jsonl` is frozen if `NAME.passages.jsonl` (or `.jsonl.zst`) is beside it, with the passages
that it names. In a data folder's `runs/`, NAME is a set's, and the run is its first stage; `NAME.json` says
how it was made (`Origin`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from rankrag.data.rows import write_passages
from rankrag.data.runs import read_run
from rankrag.data.sets import Origin
from rankrag.errors import DataError
from rankrag.types import Passage, Question

Ids = tuple[str, ...]


def passages_beside(run: Path) -> Path | None:
    """Return the file of a run's passages, or None if there is none."""
    texts = [run.with_suffix(f".passages.jsonl{ending}") for ending in ("", ".zst")]
    return next((path for path in texts if path.is_file()), None)


def keep_passages(run: Path, passages: Iterable[Passage]) -> Path:
    """Write the passages of a run beside it, in the place of any that are there; return their file."""
    path = run.with_suffix(".passages.jsonl.zst")
    write_passages(path, passages)
    run.with_suffix(".passages.jsonl").unlink(missing_ok=True)
    return path


def frozen_files(name: str, data: Path) -> tuple[Path, Path] | None:
    """Return the run of a set and the file of its passages, or None if they are not in the data folder."""
    run = data / "runs" / f"{name}.trec"
    passages = passages_beside(run)
    return (run, passages) if run.is_file() and passages else None


def read_origin(run: Path) -> Origin | None:
    """Return how a frozen run was made; None if nobody wrote it down, `DataError` if that cannot be read."""
    path = run.with_suffix(".json")
    try:
        return _ORIGIN.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise DataError(f"{path}: does not say how {run.name} was made ({error}); freeze it again") from None


def read_frozen(run: Path, questions: Iterable[Question], passages: Mapping[str, Passage]) -> dict[str, Ids]:
    """Return the ids of a frozen run by question; one that it lacks has an empty ranking."""
    known = {question.id: question for question in questions}
    found = {ranked.question.id: ranked.ids for ranked in read_run(run, known, passages)}
    return {name: found.get(name, ()) for name in known}


_ORIGIN = TypeAdapter(Origin)
