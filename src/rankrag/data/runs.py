"""Rankings on disk: runs, as JSON Lines or in TREC's format, and candidate lists to be ranked.

A JSON Lines run holds the question with its ranking, so it needs no other file. A TREC run (`.trec`, `.run`, `.txt`)
has lines of `question-id Q0 passage-id rank score tag`; white space in ids is written as %20, as TREC's tools need.
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from rankrag.data.files import Row, read_rows
from rankrag.data.rows import parse_passage, parse_question
from rankrag.errors import DataError, Mistakes
from rankrag.types import Passage, Question, Ranking, ScoredPassage

TAG = "rankrag"
_TREC = {".trec", ".run", ".txt"}


@dataclass(frozen=True, slots=True)
class Ranked:
    """A question with the ids and scores of its passages, best first."""

    question: Question
    ids: tuple[str, ...]
    scores: tuple[float, ...]


def is_trec(path: Path) -> bool:
    """Whether a run of this name is in TREC's format."""
    return path.suffix in _TREC


def run_row(
    question: Question,
    ranking: Ranking,
    relevance: Mapping[str, float] | None = None,
    truncated: Container[str] = (),
) -> Row:
    """Return a question and its ranking as a row.

    Passages that `relevance` knows by id have their probability too, and those of `truncated` say so.
    """
    passages: list[Row] = [{"id": c.passage.id, "score": c.score} for c in ranking]
    for row in passages:
        if relevance and row["id"] in relevance:
            row["relevance"] = relevance[row["id"]]
        if row["id"] in truncated:
            row["truncated"] = True
    turns = [{"role": m.role, "content": m.content} for m in question.history]
    history = {"history": turns} if turns else {}
    return {"id": question.id, "question": question.text, **history, "style": question.style, "ranking": passages}


def trec_lines(question: Question, ranking: Ranking) -> Iterator[str]:
    """Yield one line for each passage, ranks from 1."""
    for rank, c in enumerate(ranking, start=1):
        yield f"{escaped(question.id)} Q0 {escaped(c.passage.id)} {rank} {c.score:.6f} {TAG}"


def read_run(path: Path, questions: Mapping[str, Question], passages: Container[str] | None = None) -> Iterator[Ranked]:
    """Yield what a run holds; `questions`, by id, are needed where it is in TREC's format.

    `DataError` lists what is wrong with the file: also scores that are no numbers, passages that stand twice, and,
    where `passages` are known, those that are none of them.
    """
    mistakes = Mistakes()
    found = list(_read_trec(path, questions, mistakes) if is_trec(path) else _read_rows(path, mistakes))
    for where, ranked in found:
        _check(where, ranked, passages, mistakes)
    mistakes.raise_any()
    yield from (ranked for _, ranked in found)


def read_candidates(path: Path) -> Iterator[tuple[Question, Ranking]]:
    """Yield each question of a file (or of standard input) with its own `candidates` or `contexts`, in their order.

    A candidate is a text, or an object with `text` and perhaps `id` and `title`; without an id it gets the question's
    id, "/c" and its place from 0.
    """
    for line, row in read_rows(path):
        where = f"{path}:{line}"
        question = parse_question(row, where)
        found = row.get("candidates", row.get("contexts"))
        if not isinstance(found, list):
            raise DataError(f"{where}: no 'candidates' (found: {', '.join(sorted(row))}); give a list of texts")
        passages = [_candidate(c, f"{question.id}/c{i}", f"{where}: candidate {i}") for i, c in enumerate(found)]
        names = {passage.id for passage in passages}
        if len(names) < len(passages):
            raise DataError(f"{where}: two candidates have the same id; ids must differ within a question")
        yield question, tuple(ScoredPassage(p, -float(i)) for i, p in enumerate(passages))


def by_id(questions: Iterable[Question]) -> dict[str, Question]:
    """Return questions by their id."""
    return {question.id: question for question in questions}


def _candidate(found: object, name: str, where: str) -> Passage:
    if isinstance(found, str):
        return Passage(name, found)
    if not isinstance(found, dict):
        raise DataError(f"{where}: must be a text or an object with 'text' (found: {type(found).__name__})")
    return parse_passage({"id": name, **found}, where)


def _read_rows(path: Path, mistakes: Mistakes) -> Iterator[tuple[Sequence[str], Ranked]]:
    """Yield what each line holds, with the place of every passage of it; a question that failed has no ranking."""
    for line, row in read_rows(path):
        where = f"{path}:{line}"
        if "error" in row and "ranking" not in row:
            continue
        with mistakes.caught():
            try:
                ids = tuple(str(p["id"]) for p in row["ranking"])
                scores = tuple(float(p.get("score", 0.0)) for p in row["ranking"])
            except (KeyError, TypeError, ValueError, AttributeError):
                found = ", ".join(sorted(row))
                raise DataError(f"{where}: no run, it needs 'ranking' with 'id' and 'score' (found: {found})") from None
            yield [where] * len(ids), Ranked(parse_question(row, where), ids, scores)


def _read_trec(
    path: Path, questions: Mapping[str, Question], mistakes: Mistakes
) -> Iterator[tuple[Sequence[str], Ranked]]:
    found: dict[str, list[tuple[int, str, float, str]]] = {}
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None
    for number, line in enumerate(lines, start=1):
        where, fields = f"{path}:{number}", line.split()
        try:
            name, _, passage, rank, score, _ = fields
            entry = int(rank), unquote(passage), float(score), where
        except ValueError:
            mistakes.add(f"{where}: not 'question Q0 passage rank score tag' (found: {line:.80})")
            continue
        entries = found.setdefault(unquote(name), [])
        if not entries and unquote(name) not in questions:
            mistakes.add(f"{where}: question {unquote(name)!r} is not in the file of questions; pass theirs")
        entries.append(entry)
    for name, entries in found.items():
        if name in questions:
            entries.sort(key=lambda e: e[0])
            ids, scores = tuple(e[1] for e in entries), tuple(e[2] for e in entries)
            yield [e[3] for e in entries], Ranked(questions[name], ids, scores)


def _check(places: Sequence[str], ranked: Ranked, passages: Container[str] | None, mistakes: Mistakes) -> None:
    seen: set[str] = set()
    for where, name, score in zip(places, ranked.ids, ranked.scores, strict=True):
        if math.isnan(score):
            mistakes.add(f"{where}: the score of passage {name!r} is not a number; make the run anew")
        if name in seen:
            mistakes.add(f"{where}: passage {name!r} stands twice for question {ranked.question.id!r}")
        elif passages is not None and name not in passages:
            mistakes.add(f"{where}: passage {name!r} is not among the passages; pass those that the run was made of")
        seen.add(name)


def escaped(name: str) -> str:
    """Return an id as TREC's files take it: white space and % as in addresses."""
    return re.sub(r"[\s%]", lambda found: quote(found.group()), name)
