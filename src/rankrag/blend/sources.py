"""What a question set is to the blend: records that name passages by id, and those passages."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from rankrag.types import Passage, Question


@dataclass(frozen=True, slots=True)
class Record:
    """A question and the ids of passages that answer it, do not, only look as if they did (`near`), or may (`unclear`).

    An unclear passage is neither a positive nor a negative of the record.
    """

    question: Question
    positives: tuple[str, ...]
    negatives: tuple[str, ...] = ()
    near: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """A named set of records and the passages they may use; `dropped` counts what was left out, by reason.

    `origin` has what the manifest says of rows that came from a hub: their hash and revision.
    """

    name: str
    records: tuple[Record, ...]
    passages: Mapping[str, Passage]
    dropped: Counter[str] = field(default_factory=Counter)
    origin: Mapping[str, str] = field(default_factory=dict)


def document_of(passage_id: str) -> str:
    """Return the document part of an id of the form set/document/number, else ""."""
    return passage_id.rpartition("/")[0] if passage_id.count("/") >= 2 else ""


def held_back(record: Record, share: float) -> bool:
    """Whether a training record is kept for fitting thresholds; questions about one document go the same way."""
    anchor = next(iter(record.positives or record.near), record.question.id)
    digest = hashlib.sha256((document_of(anchor) or anchor).encode()).digest()
    return int.from_bytes(digest[:4], "big") < share * 2**32


def split_held_back(source: Source, share: float) -> tuple[Source, Source]:
    """Return (training part, held-back part) of a source."""
    kept = tuple(r for r in source.records if not held_back(r, share))
    held = tuple(r for r in source.records if held_back(r, share))
    return replace(source, records=kept), replace(source, records=held)
