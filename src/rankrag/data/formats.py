"""Files of other tools, both ways: TREC and BEIR qrels, BEIR, FlashRAG and MIRAGE sets, and corpora as they come.

Everything is read with the place of each row, for errors, and written whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from rankrag.data.files import located_rows, parsed_json, whole_text, write_rows, write_whole
from rankrag.data.rows import parse_passage
from rankrag.data.runs import escaped
from rankrag.data.sets import Judged, TestSet
from rankrag.errors import DataError, Mistakes
from rankrag.types import Passage, Question

Qrels = dict[str, dict[str, int]]
"""Grades by passage id, by question id."""


def corpus_rows(path: Path) -> Iterator[tuple[str, Passage | DataError]]:
    """Yield the passages of a corpus, or what is wrong with them, each with its place.

    Known are the forms of `rows.passage_row`, and DPR's table of `id`, `text`, `title`.
    """
    for where, row in located_rows(path):
        try:
            yield where, parse_passage(row, where)
        except DataError as error:
            yield where, error


def read_qrels(path: Path) -> Qrels:
    """Return the judgements of a TREC file (question, 0, passage, grade) or of BEIR's table of three columns."""
    found: Qrels = {}
    mistakes = Mistakes()
    for number, line in enumerate(whole_text(path).splitlines(), start=1):
        fields = line.split("\t") if "\t" in line else line.split()
        if not line.strip() or (number == 1 and fields[0] == "query-id"):
            continue
        try:
            if len(fields) == 3:
                name, passage, grade = fields
            else:
                name, passage, grade = unquote(fields[0]), unquote(fields[2]), fields[3]
            judged = found.setdefault(name, {})
            if passage in judged:
                mistakes.add(f"{path}:{number}: passage {passage!r} is judged twice for question {name!r}")
            judged[passage] = int(grade)
        except (ValueError, IndexError):
            mistakes.add(f"{path}:{number}: no judgement 'question 0 passage grade' (found: {line:.80})")
    mistakes.raise_any()
    return found


def write_qrels(judged: Iterable[Judged], path: Path, *, beir: bool = False) -> None:
    """Write the grades of questions, in TREC's form or as BEIR's table."""
    lines = [
        f"{of.question.id}\t{name}\t{grade}" if beir else f"{escaped(of.question.id)} 0 {escaped(name)} {grade}"
        for of in judged
        for name, grade in of.grades.items()
    ]
    write_whole(path, "\n".join((["query-id\tcorpus-id\tscore"] if beir else []) + lines) + "\n")


def write_beir(test_set: TestSet, folder: Path, split: str = "test") -> None:
    """Write a test set as BEIR's folder: corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv."""
    passages = test_set.passages.values()
    write_rows(folder / "corpus.jsonl", ({"_id": p.id, "title": p.title, "text": p.text} for p in passages))
    write_rows(
        folder / "queries.jsonl", ({"_id": of.question.id, "text": of.question.text} for of in test_set.questions)
    )
    write_qrels(test_set.questions, folder / "qrels" / f"{split}.tsv", beir=True)


def write_flashrag(test_set: TestSet, folder: Path, split: str = "test") -> None:
    """Write a test set as FlashRAG's files: SPLIT.jsonl and corpus.jsonl; a title of several lines becomes one."""
    write_rows(
        folder / f"{split}.jsonl",
        (
            {"id": q.id, "question": q.text, "golden_answers": list(q.answers), "metadata": {}}
            for q in (of.question for of in test_set.questions)
        ),
    )
    write_rows(
        folder / "corpus.jsonl",
        ({"id": p.id, "contents": f'"{" ".join(p.title.split())}"\n{p.text}'} for p in test_set.passages.values()),
    )


def write_mirage(subsets: Mapping[str, Sequence[Question]], path: Path) -> None:
    """Write multiple-choice questions as MIRAGE's benchmark.json, by subset; the first answer is the right letter."""
    written = {
        subset: {
            q.id: {
                "question": q.text,
                "options": dict(zip(q.letters, q.options, strict=True)),
                "answer": q.answers[0],
            }
            for q in questions
        }
        for subset, questions in subsets.items()
    }
    write_whole(path, json.dumps(written, indent=2, ensure_ascii=False) + "\n")


def companion_of(path: Path, schema: str) -> Mapping[str, Any]:
    """Return what a companion file says by id: qrels, an object of documents, or rows by their `question_id`."""
    if schema == "beir":
        return read_qrels(path)
    if path.suffix == ".json":
        found = parsed_json(path)
        if isinstance(found, dict):
            return found
    return {str(row.get("question_id")): row for _, row in located_rows(path)}
