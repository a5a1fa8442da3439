"""Benchmarks read from a data folder: questions in any published form, passages of a corpus or of a frozen run.

Where a frozen run is there, it is the first stage, and nobody needs the corpus.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rankrag.data.catalogue import BENCHMARKS
from rankrag.data.files import Row, corpus_files, located_rows, write_rows
from rankrag.data.formats import companion_of, corpus_rows
from rankrag.data.frozen import frozen_files, read_frozen, read_origin
from rankrag.data.hub import hub_rows
from rankrag.data.rows import as_choice, parse_history, parse_passage
from rankrag.data.schemas import our_row
from rankrag.data.sets import Benchmark, Judged, Schema, TestSet
from rankrag.errors import ConfigError, DataError, Mistakes
from rankrag.types import Passage, Question

NO_GOLD = "no passage is known to be right"
NO_ANSWER = "no answer is known to be right"
"""Why a question is left out."""


def missing(benchmark: Benchmark, data: Path, *, passages: bool = True) -> list[Path]:
    """Return the files that a benchmark lacks in the data folder; without `passages`, those of its questions."""
    path, schema = _source(benchmark, data)
    wanted = [path] + ([data / benchmark.companion] if benchmark.companion and schema != "rankrag" else [])
    absent = [path for path in wanted if not path.is_file()]
    if passages and frozen_files(benchmark.name, data) is None:
        absent += [data / name for name in benchmark.corpora if not corpus_files(data / name)]
    return absent


def at_hand(data: Path) -> tuple[str, ...]:
    """Return the names of the benchmarks whose files are all in the data folder."""
    return tuple(name for name, benchmark in BENCHMARKS.items() if not missing(benchmark, data))


def fetch(benchmark: Benchmark, data: Path) -> Path:
    """Keep the questions that a hub has of a benchmark in the data folder, as they are; return the file.

    `ConfigError` where no hub has them, `DataError` where it cannot be reached.
    """
    if benchmark.hub is None:
        raise ConfigError(f"{benchmark.title}: on no hub; get it from {benchmark.source}")
    path = _fetched(benchmark, data)
    write_rows(path, (row for _, row in hub_rows(benchmark.hub, f"keep it as {data / benchmark.rows}")))
    return path


def load(benchmark: Benchmark, data: Path, *, passages: bool = True) -> TestSet:
    """Return the questions and passages of a benchmark; without `passages`, questions for the closed book alone.

    Raises:
        ConfigError: lists the files that are missing.
        DataError: lists what is wrong with a file, with the line of each mistake.
    """
    absent = missing(benchmark, data, passages=passages)
    if absent:
        raise ConfigError(
            f"{benchmark.title}: not there: {', '.join(map(str, absent))}; set RANKRAG_DATA to the folder of the data "
            "sets, `rankrag evaluate --list` says where each comes from"
        )
    rows = tuple(_rows(benchmark, data))
    left_out = Counter[str](NO_ANSWER for row in rows if row.unanswered)
    rows = tuple(row for row in rows if not row.unanswered)
    if not passages:
        return TestSet(benchmark, tuple(Judged(row.question, (), {}) for row in rows), {}, left_out=left_out)
    frozen = frozen_files(benchmark.name, data)
    corpora = [path for name in benchmark.corpora for path in corpus_files(data / name)]
    files = (frozen[1],) if frozen else tuple(corpora)
    found = _passages(files) | {p.id: p for row in rows for p in row.own}
    run = read_frozen(frozen[0], (row.question for row in rows), found) if frozen else {}
    origin = read_origin(frozen[0]) if frozen else None
    questions: list[Judged] = []
    mistakes = Mistakes()
    for row in rows:
        judged = row.judged(run.get(row.question.id))
        lost = sorted({i for i in (*judged.gold, *judged.given) if i not in found})
        if lost and not frozen:
            names = ", ".join(path.name for path in files) or "the row itself"
            mistakes.add(f"{row.where}: passage {lost[0]!r} is in none of {names}; get both anew")
        if judged.gold or not benchmark.needs_gold:
            questions.append(judged)
        else:
            left_out[NO_GOLD] += 1
    mistakes.raise_any()
    if frozen and origin and origin.questions < len(questions):
        raise DataError(
            f"{frozen[0]}: made for {origin.questions} questions, {benchmark.title} has {len(questions)}; "
            "freeze it anew"
        )
    given = bool(benchmark.corpora) and bool(questions) and all(of.given for of in questions)
    ranked = bool(frozen) or benchmark.evidence or given or any(row.ranked for row in rows)
    searchable = bool(benchmark.corpora) and not frozen and not benchmark.evidence
    unranked = sum(not run[of.question.id] for of in questions) if frozen else 0
    return TestSet(benchmark, tuple(questions), found, ranked, searchable, left_out, origin, unranked)


@dataclass(frozen=True, slots=True)
class _Read:
    """A row that has been read; `own` are the passages that it carries, `ranked` whether in a first stage's order.

    `unanswered` says that it is to be answered and no answer is known.
    """

    where: str
    question: Question
    gold: tuple[str, ...]
    grades: Mapping[str, int]
    given: tuple[str, ...]
    own: tuple[Passage, ...]
    ranked: bool
    unanswered: bool

    def judged(self, run: tuple[str, ...] | None) -> Judged:
        return Judged(self.question, self.gold, self.grades, self.given if run is None else run)


def _source(benchmark: Benchmark, data: Path) -> tuple[Path, Schema]:
    """Return the file of the questions and its form: as published, as fetched from the hub, or ours."""
    places: list[tuple[Path, Schema]] = [
        (data / benchmark.rows, benchmark.schema),
        (_fetched(benchmark, data), benchmark.hub_schema or benchmark.schema),
    ]
    places += [(data / benchmark.ours, "rankrag")] if benchmark.ours else []
    return next((place for place in places if place[0].is_file()), places[0])


def _fetched(benchmark: Benchmark, data: Path) -> Path:
    return data / "hub" / f"{benchmark.name}.jsonl.zst"


def _rows(benchmark: Benchmark, data: Path) -> Iterator[_Read]:
    """Yield the questions of a file; its mistakes are told together, before anything is made of it."""
    path, schema = _source(benchmark, data)
    foreign = schema != "rankrag"
    companion = companion_of(data / benchmark.companion, schema) if benchmark.companion and foreign else {}
    mistakes = Mistakes()
    seen: dict[str, str] = {}
    found: list[_Read] = []
    for number, (where, row) in enumerate(located_rows(path, benchmark.subset)):
        with mistakes.caught():
            ours = our_row(schema, row, companion, where)
            if ours is None:
                continue
            read = _read(benchmark, {"id": f"{benchmark.name}/{number}", **ours} if foreign else ours, where)
            if read.question.id in seen:
                raise DataError(
                    f"{where}: id {read.question.id!r} stands in {seen[read.question.id]} already; ids must differ"
                )
            seen[read.question.id] = where
            found.append(read)
    mistakes.raise_any()
    if not found:
        part = f" of {benchmark.subset!r}" if benchmark.subset else ""
        raise DataError(f"{path}: no question{part}; get the file anew")
    yield from found


def _read(benchmark: Benchmark, row: Row, where: str) -> _Read:
    text, name = row.get("question", row.get("query")), row.get("id")
    if not isinstance(text, str) or not isinstance(name, str) or not text.strip():
        found = ", ".join(sorted(row))
        raise DataError(f"{where}: no 'id' with 'question' or 'query' (found: {found}); the format is in docs/data.md")
    question = Question(
        name,
        text,
        history=parse_history(row.get("history", []), where),
        answers=_texts(row, "answers", where),
        style=benchmark.style or "short",
    )
    if benchmark.style == "choice":
        question = as_choice(question, row, where)
    own = _own_passages(row, where)
    named = _texts(row, "near_ids" if benchmark.unanswerable else "positive_ids", where)
    gold = named + tuple(passage.id for passage, relevant in own if relevant)
    given = gold if benchmark.evidence else _texts(row, "bm25_ids", where) or tuple(p.id for p, _ in own)
    grades = _grades(row, where) if "grades" in row else dict.fromkeys(gold, 1)
    answered = benchmark.style is not None and not benchmark.unanswerable and benchmark.style != "choice"
    if answered and "answers" not in row:
        raise DataError(f"{where}: no 'answers' (found: {', '.join(sorted(row))}); the format is in docs/data.md")
    passages = tuple(p for p, _ in own)
    return _Read(where, question, gold, grades, given, passages, "ranking" in row, answered and not question.answers)


def _texts(row: Row, key: str, where: str) -> tuple[str, ...]:
    value = row.get(key, [])
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise DataError(f"{where}: '{key}' must be a list of texts (found: {value!r:.80})")
    return tuple(value)


def _grades(row: Row, where: str) -> dict[str, int]:
    value = row["grades"]
    if not isinstance(value, dict) or not all(isinstance(g, int) and not isinstance(g, bool) for g in value.values()):
        raise DataError(f"{where}: 'grades' must be whole numbers by passage id (found: {value!r:.80})")
    return {str(name): grade for name, grade in value.items()}


def _own_passages(row: Row, where: str) -> list[tuple[Passage, bool]]:
    """Return the passages of a row's `candidates`, `ranking` or `contexts`, and whether each is gold."""
    key = next((key for key in ("candidates", "ranking", "contexts") if key in row), None)
    if key is None:
        return []
    if not isinstance(row[key], list):
        raise DataError(f"{where}: '{key}' must be a list of passages (found: {row[key]!r:.80})")
    gold = row.get("gold", [])
    found = []
    for place, candidate in enumerate(row[key]):
        if not isinstance(candidate, dict) or not isinstance(candidate.get("text"), str):
            raise DataError(f"{where}: candidate {place} has no 'text'; the format is in docs/data.md")
        passage = parse_passage({"id": f"{row['id']}/c{place}", **candidate}, where)
        found.append((passage, place in gold if key == "contexts" else bool(candidate.get("label"))))
    return found


def _passages(files: tuple[Path, ...]) -> dict[str, Passage]:
    found: dict[str, Passage] = {}
    for path in files:
        mistakes = Mistakes()
        seen: dict[str, str] = {}
        for where, passage in corpus_rows(path):
            if isinstance(passage, DataError):
                mistakes.add(str(passage))
                continue
            if passage.id in seen:
                mistakes.add(f"{where}: passage {passage.id!r} stands in {seen[passage.id]} already; ids must differ")
            elif found.setdefault(passage.id, passage) != passage:
                mistakes.add(f"{where}: passage {passage.id!r} is another one in an earlier corpus; ids must differ")
            seen[passage.id] = where
        mistakes.raise_any()
    return found
