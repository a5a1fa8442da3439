"""What every home of an index keeps of a passage, and what it refuses; the home decides how that is stored."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rankrag.documents.document import Note
from rankrag.documents.parts import IndexedSource, SourcePassages, by_file, file_of
from rankrag.errors import DataError, IndexStoreError
from rankrag.retrieval.dense import vector_key
from rankrag.retrieval.encoder import document_text
from rankrag.retrieval.fields import passage_terms
from rankrag.types import Passage, ScoredPassage, Source

_SOURCE_COLUMNS = ("path", "heading", "page", "start", "end")
PASSAGE_COLUMNS = ("id", "text", "title", *_SOURCE_COLUMNS)
"""Columns that `passage_of` takes; from `path` on they are the passage's `Source`, null if it has none."""


def owners_of(batch: Sequence[SourcePassages]) -> dict[str, str]:
    """Return the document of every passage id; an id that stands twice is a `DataError`."""
    owners: dict[str, str] = {}
    for document in batch:
        for passage in document.passages:
            if passage.id in owners:
                raise clash(passage.id, owners[passage.id], document.path)
            owners[passage.id] = document.path
    return owners


def clash(passage_id: str, first: str, second: str) -> DataError:
    """Return the error for an id that two passages want."""
    first, second = file_of(first), file_of(second)
    where = f"twice in {first}" if first == second else f"both in {first} and in {second}"
    return DataError(f"passage id {passage_id!r} stands {where}; give every passage an id of its own")


def row_of(document: SourcePassages, passage: Passage) -> dict[str, str | int | None]:
    """Return a passage's columns, with its BM25 terms (separated by spaces) and the key of its vector."""
    text = document_text(passage)
    try:
        key = vector_key(text)
    except UnicodeEncodeError as error:
        raise DataError(
            f"{document.path}: passage {passage.id!r} is not valid Unicode ({error.reason} at {error.start}); "
            "read the document again with errors='replace'"
        ) from error
    own = {"id": passage.id, "text": passage.text, "title": passage.title}
    place = {name: getattr(passage.source, name, None) for name in _SOURCE_COLUMNS}
    return own | place | {"terms": " ".join(passage_terms(passage)), "key": key}


def passage_of(row: Mapping[str, Any]) -> Passage:
    """Return the passage of a row that has `PASSAGE_COLUMNS`."""
    place = None if row["path"] is None else Source(**{name: row[name] for name in _SOURCE_COLUMNS})
    return Passage(row["id"], row["text"], row["title"], place)


def best_first(scored: ScoredPassage) -> tuple[float, str]:
    """Return the key that sorts passages by their score, ties by their id."""
    return -scored.score, scored.passage.id


def notes_to_json(notes: Sequence[Note]) -> str | None:
    """Return a document's notes as JSON, `None` if it has none."""
    return json.dumps([(note.text, note.lost) for note in notes]) if notes else None


def notes_from_json(text: str) -> tuple[Note, ...]:
    """Return the notes that `notes_to_json` wrote."""
    return tuple(Note(said, lost) for said, lost in json.loads(text))


def not_indexed(place: object, name: str, sources: Iterable[IndexedSource]) -> IndexStoreError:
    """Return the error for a document to be removed that the index does not have; it names documents like it."""
    paths = [file.path for file in by_file(sources)]
    by_name = [known for known in paths if Path(known).name == Path(name).name]
    near = list(dict.fromkeys(by_name + difflib.get_close_matches(name, paths)))[:3]
    hint = f"did you mean {' or '.join(near)}?" if near else "rankrag index --list shows what is"
    return IndexStoreError(f"{place}: {name} is not in the index; {hint}")


def other_encoder(place: object, made_by: str, now: str) -> IndexStoreError:
    """Return the error for vectors that another encoder made."""
    return IndexStoreError(
        f"{place}: the vectors were made by {made_by}, the encoder now is {now}; "
        f"use {made_by}, or index the documents into a new index"
    )


def no_vector_yet(place: object) -> IndexStoreError:
    """Return the error for an index whose passages have no vectors when they are needed."""
    return IndexStoreError(f"{place}: no passage has a vector yet; run rankrag index again to fill them, or use bm25")
