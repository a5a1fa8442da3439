"""Files of other tools, both ways: TREC and BEIR qrels, BEIR, FlashRAG and MIRAGE sets, and corpora as they come.

Everything is read with the place of each row, for errors, and written whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from rankrag.blend.arrays import PIECE, packed_rows
from rankrag.errors import DataError, Mistakes
from rankrag.evaluation.benchmarks import Judged, TestSet
from rankrag.journal import write_whole
from rankrag.jsonl import Row, parse_passage, read_rows, write_rows
from rankrag.runs import escaped
from rankrag.tables import read_table
from rankrag.types import Passage, Question

Located = tuple[str, Row]
"""Where a row stands, for errors, and the row."""

Qrels = dict[str, dict[str, int]]
"""Grades by passage id, by question id."""


def located_rows(path: Path, subset: str = "") -> Iterator[Located]:
    """Yield the rows of a file: JSON Lines, a JSON array, an object of objects (`subset` picks one), CSV or TSV.

    Tables have a header, but for DPR's `.qas.csv`: question, tab, answers.
    """
    if path.name.endswith(".qas.csv"):
        yield from _table(path, ("question", "answers"))
    elif path.suffix in (".tsv", ".csv"):
        yield from _table(path, None)
    elif path.suffix == ".json":
        yield from _json(path, subset)
    else:
        for line, row in read_rows(path):
            if not subset or row.get("subset") == subset:
                yield f"{path}:{line}", row


def corpus_files(path: Path) -> tuple[Path, ...]:
    """Return the files of a corpus by its name: a file, a file less its .jsonl, or all such files in a folder."""
    if path.is_dir():
        return tuple(sorted(of for of in path.rglob("*") if of.name.endswith((".jsonl", ".jsonl.zst"))))
    places = (path, path.with_name(f"{path.name}.jsonl"), path.with_name(f"{path.name}.jsonl.zst"))
    return next(((place,) for place in places if place.is_file()), ())


def corpus_rows(path: Path) -> Iterator[tuple[str, Passage | DataError]]:
    """Yield the passages of a corpus, or what is wrong with them, each with its place.

    Known are the forms of `jsonl.passage_row`, and DPR's table of `id`, `text`, `title`.
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
    for number, line in enumerate(_text(path).splitlines(), start=1):
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
        found = _parsed(path)
        if isinstance(found, dict):
            return found
    return {str(row.get("question_id")): row for _, row in located_rows(path)}


def _table(path: Path, names: tuple[str, ...] | None) -> Iterator[Located]:
    """Yield the rows of a table; DPR quotes its fields, the others do not."""
    delimiter = "," if path.suffix == ".csv" and names is None else "\t"
    for line, row in read_table(path, names, delimiter=delimiter):
        if row is None:
            raise DataError(f"{path}:{line}: not as many fields as the others; get the file anew")
        yield f"{path}:{line}", row


def _json(path: Path, subset: str) -> Iterator[Located]:
    """Yield the rows of a JSON file with their lines; rows of an object get their name as `id`."""
    if not _is_array(path):
        yield from _objects(path, _text(path), subset)
        return
    for line, row in packed_rows(path, _refuse):
        yield f"{path}:{line}", row


def _is_array(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(PIECE).lstrip().startswith(b"[")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from None


def _refuse(error: DataError) -> None:
    raise error


def _objects(path: Path, text: str, subset: str) -> Iterator[Located]:
    found = _parsed(path)
    if not isinstance(found, dict):
        raise DataError(f"{path}: holds {type(found).__name__}, neither an array nor an object of rows")
    if subset:
        if not isinstance(found.get(subset), dict):
            raise DataError(f"{path}: no object {subset!r} (found: {', '.join(found)}); get the file anew")
        found = found[subset]
    place = text.find(json.dumps(subset)) if subset else 0
    line = 1 + text.count("\n", 0, place)
    for name, row in found.items():
        here = max(place, text.find(json.dumps(name, ensure_ascii=False), place))
        line += text.count("\n", place, here)
        place = here
        if not isinstance(row, dict):
            raise DataError(f"{path}:{line}: {name!r} holds {type(row).__name__}, not an object")
        yield f"{path}:{line}", {"id": name, **row}


def _parsed(path: Path) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = dict(pairs)
        if len(names) < len(pairs):
            seen: set[str] = set()
            twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
            raise DataError(f"{path}: {twice!r} stands twice in one object; ids must differ")
        return names

    try:
        return json.loads(_text(path), object_pairs_hook=unique)
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); get the file anew") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
