"""Benchmarks read from a data folder: questions in any published form, passages of a corpus or of a frozen run.

Where a frozen run is there, it is the first stage, and nobody needs the corpus.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from rankrag.data.catalogue import BENCHMARKS
from rankrag.data.files import Row, located_rows, write_rows
from rankrag.data.frozen import frozen_files, read_frozen, read_origin
from rankrag.data.hub import hub_rows
from rankrag.data.public import companion_of, converted
from rankrag.data.rows import QuestionRow, note_place, parse_passage, parse_row
from rankrag.data.runs import known_id
from rankrag.data.sets import Benchmark, Judged, TestSet
from rankrag.errors import ConfigError, DataError, Mistakes
from rankrag.types import Passage

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


def set_listing(benchmarks: Sequence[Benchmark], data: Path | None) -> Iterator[str]:
    """Yield the lines about each set: name, missing files, questions, passages, the paper's setting."""
    for one in benchmarks:
        absent = [] if data is None else [str(path.relative_to(data)) for path in missing(one, data)]
        state = "no data folder" if data is None else f"missing: {', '.join(absent)}" if absent else "at hand"
        yield f"{one.name}: {one.title}, {one.split} [{state}]"
        yield f"  questions: {_questions(one)}"
        places = f"; {one.corpus_source}; as {', '.join(one.corpora)}" if one.corpus_source else ""
        yield f"  passages:  {one.corpus or 'those of the questions'}{places}"
        if one.paper:
            paper = one.paper
            yield f"  the paper: {paper.size:,} questions, {paper.retriever}, N = {paper.n}, k = {paper.k}"


def fetch(benchmark: Benchmark, data: Path) -> Path:
    """Keep the questions that a hub has of a benchmark in the data folder, as they are; return the file.

    `ConfigError` if no hub has them, `DataError` if it cannot be reached.
    """
    if benchmark.hub is None:
        raise ConfigError(f"{benchmark.title}: on no hub; get it from {benchmark.source}")
    path = _fetched(benchmark, data)
    write_rows(path, (row for _, row in hub_rows(benchmark.hub, f"keep it as {data / benchmark.rows}")))
    return path


def load_set(benchmark: Benchmark, data: Path, *, passages: bool = True) -> TestSet:
    """Return the questions and passages of a benchmark; without `passages`, questions for the closed book alone.

    Raises:
        ConfigError: lists the files that are missing.
        DataError: lists all mistakes of a file, with their lines.
    """
    absent = missing(benchmark, data, passages=passages)
    if absent:
        raise ConfigError(
            f"{benchmark.title}: not there: {', '.join(map(str, absent))}; set RANKRAG_DATA to the folder of the data "
            "sets, `rankrag evaluate --list` says where each comes from"
        )
    left_out = Counter[str]()
    rows = tuple(_rows(benchmark, data, left_out))
    if not passages:
        return TestSet(benchmark, tuple(Judged(row.question, (), {}) for _, row in rows), {}, left_out=left_out)
    frozen = frozen_files(benchmark.name, data)
    corpora = [path for name in benchmark.corpora for path in corpus_files(data / name)]
    files = (frozen[1],) if frozen else tuple(corpora)
    found = _passages(files) | {own.passage.id: own.passage for _, row in rows for own in row.carried}
    run = read_frozen(frozen[0], (row.question for _, row in rows), found) if frozen else {}
    origin = read_origin(frozen[0]) if frozen else None
    questions: list[Judged] = []
    mistakes = Mistakes()
    for where, row in rows:
        judged = _judged(benchmark, row, run.get(row.question.id), found)
        lost = sorted({i for i in (*judged.gold, *judged.given) if i not in found})
        if lost and not frozen:
            names = ", ".join(path.name for path in files) or "the row itself"
            mistakes.add(f"{where}: passage {lost[0]!r} is in none of {names}; get both again")
        if judged.gold or not benchmark.needs_gold:
            questions.append(judged)
        else:
            left_out[NO_GOLD] += 1
    mistakes.raise_any()
    if frozen and origin and origin.questions < len(questions):
        raise DataError(
            f"{frozen[0]}: made for {origin.questions} questions, {benchmark.title} has {len(questions)}; "
            "freeze it again"
        )
    given = bool(benchmark.corpora) and bool(questions) and all(one.given for one in questions)
    ranked = bool(frozen) or benchmark.evidence or given or any(row.carried_as == "ranking" for _, row in rows)
    searchable = bool(benchmark.corpora) and not frozen and not benchmark.evidence
    unranked = sum(not run[one.question.id] for one in questions) if frozen else 0
    return TestSet(
        benchmark,
        tuple(questions),
        found,
        ranked=ranked,
        searchable=searchable,
        left_out=left_out,
        origin=origin,
        unranked=unranked,
    )


def _questions(one: Benchmark) -> str:
    places = [one.source] if one.source else []
    if one.hub:
        part = ", ".join(filter(None, (one.hub.subset or one.hub.files, one.hub.split)))
        places.insert(0, f"{one.hub.name} ({part}) at {(one.hub.revision or 'its newest revision')[:20]}")
    return "; or ".join(places) + ("" if one.source.startswith("a file of one's own") else f"; as {one.rows}")


def corpus_files(path: Path) -> tuple[Path, ...]:
    """Return the files of a corpus by its name: a file, a file without its .jsonl, or all such files in a folder."""
    if path.is_dir():
        return tuple(sorted(file for file in path.rglob("*") if file.name.endswith((".jsonl", ".jsonl.zst"))))
    places = (path, path.with_name(f"{path.name}.jsonl"), path.with_name(f"{path.name}.jsonl.zst"))
    return next(((place,) for place in places if place.is_file()), ())


def _source(benchmark: Benchmark, data: Path) -> tuple[Path, str]:
    """Return the file of the questions and its form: as published, as fetched from the hub, or ours."""
    places: list[tuple[Path, str]] = [
        (data / benchmark.rows, benchmark.schema),
        (_fetched(benchmark, data), benchmark.hub_schema or benchmark.schema),
    ]
    places += [(data / benchmark.ours, "rankrag")] if benchmark.ours else []
    return next((place for place in places if place[0].is_file()), places[0])


def _fetched(benchmark: Benchmark, data: Path) -> Path:
    return data / "hub" / f"{benchmark.name}.jsonl.zst"


def _rows(benchmark: Benchmark, data: Path, left_out: Counter[str]) -> Iterator[tuple[str, QuestionRow]]:
    """Yield the questions of a file with their places; all its mistakes are told together, before the first one."""
    path, form = _source(benchmark, data)
    foreign = form != "rankrag"
    companion = companion_of(data / benchmark.companion, form) if benchmark.companion and foreign else {}
    mistakes = Mistakes()
    rows = converted(form, located_rows(path, benchmark.subset, mistakes.add), Counter(), mistakes.add, companion)
    seen: dict[str, str] = {}
    found: list[tuple[str, QuestionRow]] = []
    for number, (where, row) in enumerate(rows):
        with mistakes.caught():
            read = _read(benchmark, {"id": f"{benchmark.name}/{number}", **row} if foreign else row, where)
            note_place(seen, read.question.id, where)
            if _is_answered(benchmark) and not read.question.answers:
                left_out[NO_ANSWER] += 1
            else:
                found.append((where, read))
    mistakes.raise_any()
    if not seen:
        part = f" of {benchmark.subset!r}" if benchmark.subset else ""
        raise DataError(f"{path}: no question{part}; get the file again")
    yield from found


def _read(benchmark: Benchmark, row: Row, where: str) -> QuestionRow:
    read = parse_row(row, where, benchmark.style or "short")
    if _is_answered(benchmark) and not read.has_answers:
        raise DataError(f"{where}: no 'answers' (found: {', '.join(sorted(row))}); the format is in docs/data.md")
    return read


def _is_answered(benchmark: Benchmark) -> bool:
    """Whether the rows of a set say which answers are right."""
    return benchmark.style not in (None, "choice") and not benchmark.unanswerable


def _judged(
    benchmark: Benchmark, read: QuestionRow, run: tuple[str, ...] | None, passages: Mapping[str, Passage]
) -> Judged:
    """Return a question with its judgements; `run` is the frozen first stage."""
    own = [carried.passage.id for carried in read.carried]
    named = read.near if benchmark.unanswerable else read.positives
    gold = tuple(known_id(name, passages) for name in named)
    gold += tuple(carried.passage.id for carried in read.carried if carried.label)
    named_grades = dict.fromkeys(gold, 1) if read.grades is None else read.grades
    grades = {known_id(name, passages): grade for name, grade in named_grades.items()}
    given = run if run is not None else gold if benchmark.evidence else read.ranked or tuple(own)
    return Judged(read.question, gold, grades, given)


def _passages(files: tuple[Path, ...]) -> dict[str, Passage]:
    found: dict[str, Passage] = {}
    for path in files:
        mistakes = Mistakes()
        seen: dict[str, str] = {}
        for where, row in located_rows(path, on_bad_row=mistakes.add):
            with mistakes.caught():
                passage = parse_passage(row, where)
                note_place(seen, passage.id, where)
                if found.setdefault(passage.id, passage) != passage:
                    raise DataError(f"{where}: passage {passage.id!r} differs in an earlier corpus; ids must differ")
        mistakes.raise_any()
    return found
