"""Own documents as a set: a folder with `corpus/` and `questions.jsonl`, asked and measured like any other set.

A row has `question`, `answers` (empty if the corpus does not answer it) and perhaps `source` or `sources`, the files
that hold the answer: all their passages count as gold.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from rankrag.data.files import Row, read_rows
from rankrag.data.rows import read_questions
from rankrag.data.sets import Benchmark, Judged, TestSet
from rankrag.documents.files import find_files
from rankrag.documents.loading import Loaded, load_documents
from rankrag.errors import DataError
from rankrag.types import Passage, Question


@dataclass(frozen=True, slots=True)
class SourcedQuestion:
    """A question with the names of the files that hold its answer; without answers, one to be refused."""

    question: Question
    sources: tuple[str, ...]


def own_documents(folder: Path) -> list[TestSet]:
    """Return the answerable questions over the documents of a folder, and the unanswerable ones, as two sets."""
    files = tuple(Path(os.path.abspath(file)) for file in find_files([folder / "corpus"]).files)
    passages = {p.id: p for one in load_documents(files, {}) if isinstance(one, Loaded) for p in one.passages}
    asked = [_judged(one, passages) for one in read_sourced_questions(folder / "questions.jsonl")]
    answerable = tuple(judged for judged in asked if judged.question.answers)
    unanswerable = tuple(judged for judged in asked if not judged.question.answers)
    return [
        TestSet(_benchmark(folder, unanswerable=questions is unanswerable), questions, passages, searchable=True)
        for questions in (answerable, unanswerable)
        if questions
    ]


def _benchmark(folder: Path, *, unanswerable: bool) -> Benchmark:
    name = folder.resolve().name
    return Benchmark(
        name=f"{name}-unanswerable" if unanswerable else name,
        title=f"{name.capitalize()}, unanswerable" if unanswerable else name.capitalize(),
        rows="questions.jsonl",
        corpora=(f"{name}-documents",),
        metric="hit@1",
        unanswerable=unanswerable,
        split="all",
        source=f"a file of one's own, {folder / 'questions.jsonl'}",
        corpus=f"the documents of {folder / 'corpus'}",
    )


def read_sourced_questions(path: Path) -> list[SourcedQuestion]:
    """Return the questions of a file with the names of their sources; `DataError` for none, or for equal ids."""
    found = [
        SourcedQuestion(question, _sources(row))
        for question, (_, row) in zip(read_questions(path), read_rows(path), strict=True)
    ]
    if not found:
        raise DataError(f"{path}: holds no question; each line is an object with 'question' and 'answers'")
    return found


def _sources(row: Row) -> tuple[str, ...]:
    named = row.get("sources", row.get("source")) or ()
    return tuple(Path(name).name for name in ((named,) if isinstance(named, str) else named))


def _judged(asked: SourcedQuestion, passages: dict[str, Passage]) -> Judged:
    gold = tuple(
        name for name, p in passages.items() if p.source is not None and Path(p.source.path).name in asked.sources
    )
    return Judged(asked.question, gold, dict.fromkeys(gold, 1))
