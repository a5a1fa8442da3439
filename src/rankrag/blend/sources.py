"""Reading question sets with their passages, from JSON Lines in the formats of docs/data.md.

Every set becomes a `Source`: records that name passages by id, and those passages. Only passages that belong to the
records are kept, so that a corpus shared with a dev split gives none of its passages to training.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rankrag.errors import DataError
from rankrag.jsonl import parse_history, read_passages, read_rows
from rankrag.types import Passage, Question, Style


@dataclass(frozen=True, slots=True)
class Record:
    """A question and the ids of passages that answer it, do not, or only look as if they did (`near`)."""

    question: Question
    positives: tuple[str, ...]
    negatives: tuple[str, ...] = ()
    near: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """A named set of records and the passages they may use."""

    name: str
    records: tuple[Record, ...]
    passages: Mapping[str, Passage]


def read_source(name: str, rows: Path, corpus: Path | None, style: Style) -> Source:
    """Return a question set; `DataError` names file and line of a row that fits no format."""
    passages: dict[str, Passage] = {}
    records = [_record(rows, line, row, style, passages) for line, row in read_rows(rows)]
    if corpus is not None:
        wanted = {i for record in records for i in (*record.positives, *record.negatives, *record.near)}
        documents = {d for d in map(document_of, wanted) if d}
        for passage in read_passages(corpus):
            if passage.id in wanted or document_of(passage.id) in documents:
                passages[passage.id] = passage
    missing = [(r.question.id, i) for r in records for i in r.positives if i not in passages]
    if missing:
        question, passage_id = missing[0]
        raise DataError(f"{rows}: question {question!r} names passage {passage_id!r}, which {corpus} does not hold")
    return Source(name, tuple(records), passages)


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


def _record(path: Path, line: int, row: dict[str, Any], style: Style, passages: dict[str, Passage]) -> Record:
    text, row_id = row.get("question", row.get("query")), row.get("id")
    if not isinstance(text, str) or not isinstance(row_id, str):
        found = ", ".join(sorted(row))
        raise DataError(f"{path}:{line}: no 'id' with 'question' or 'query' (found: {found}); see docs/data.md")
    question = Question(
        row_id,
        text,
        history=parse_history(row.get("history", []), f"{path}:{line}"),
        answers=tuple(row.get("answers", ())),
        style=style,
    )
    positives, negatives = list(row.get("positive_ids", ())), list(row.get("negative_ids", ()))
    for passage, relevant in _own_passages(row_id, row):
        passages[passage.id] = passage
        (positives if relevant else negatives).append(passage.id)
    negatives += [i for i in row.get("candidate_ids", ()) if i not in positives]
    return Record(question, tuple(positives), tuple(negatives), tuple(row.get("near_ids", ())))


def _own_passages(row_id: str, row: dict[str, Any]) -> Iterator[tuple[Passage, bool]]:
    gold = set(row.get("gold", ()))
    for i, candidate in enumerate(row.get("candidates", row.get("contexts", ()))):
        passage = Passage(f"{row_id}/c{i}", candidate["text"], candidate.get("title", ""))
        yield passage, bool(candidate.get("label", i in gold))
