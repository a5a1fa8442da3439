"""Rankings and answers on disk: runs, as JSON Lines or in TREC's format, judgements, and candidates to be ranked.

A JSON Lines run holds the question with its ranking, so it needs no other file. A TREC run (`.trec`, `.run`, `.txt`)
has lines of `question-id Q0 passage-id rank score tag`; white space in ids is written as %20, as TREC's tools need.
"""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from rankrag.data.files import Row, located_rows, text_lines
from rankrag.data.rows import parse_grade, parse_id, parse_question, parse_row
from rankrag.errors import DataError, Mistakes
from rankrag.types import Answer, Question, Ranking, ScoredPassage, SecondRound

TAG = "rankrag"
_TREC = {".trec", ".run", ".txt"}
_FIELDS = re.compile(r"[^ \t\r\n\f\v]+")  # other white space may be part of an id


@dataclass(frozen=True, slots=True)
class RankedQuestion:
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
    return {**_asked(question), "style": question.style, "ranking": passages}


def trec_lines(row: Row) -> Iterator[str]:
    """Yield one line for each passage of a row of `run_row`, ranks from 1."""
    for rank, passage in enumerate(row["ranking"], start=1):
        yield f"{escaped(row['id'])} Q0 {escaped(passage['id'])} {rank} {passage['score']:.6f} {TAG}"


def read_run(
    path: Path, questions: Mapping[str, Question], passages: Container[str] | None = None
) -> Iterator[RankedQuestion]:
    """Yield what a run holds; `questions`, by id, are needed if it is in TREC's format.

    `DataError` lists all mistakes of the file: also scores that are not numbers, passages that stand twice, and, if
    `passages` are given, ids that none of them has. Without `passages`, ids of a TREC run stay as written (`known_id`).
    """
    mistakes = Mistakes()
    found = list(_read_trec(path, questions, passages, mistakes) if is_trec(path) else _read_rows(path, mistakes))
    for where, ranked in found:
        _check(where, ranked, passages, mistakes)
    mistakes.raise_any()
    yield from (ranked for _, ranked in found)


def read_candidates(path: Path) -> Iterator[tuple[Question, Ranking]]:
    """Yield each question of a file (or of standard input) with the passages that its row carries, in their order."""
    for where, row in located_rows(path):
        read = parse_row(row, where)
        if not read.carried_as:
            raise DataError(f"{where}: no 'candidates' (found: {', '.join(sorted(row))}); give a list of texts")
        passages = [carried.passage for carried in read.carried]
        if len({passage.id for passage in passages}) < len(passages):
            raise DataError(f"{where}: two candidates have the same id; ids must differ within a question")
        yield read.question, tuple(ScoredPassage(p, -float(i)) for i, p in enumerate(passages))


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Return grades by question and passage, from a TREC file (question, 0, passage, grade) or BEIR's table of three.

    Ids are as written, see `known_id`. `DataError` lists all mistakes; the same grade may stand twice.
    """
    found: dict[str, dict[str, int]] = {}
    mistakes = Mistakes()
    for number, line in text_lines(path):
        where = f"{path}:{number}"
        fields = [field.strip() for field in line.split("\t")] if "\t" in line else _FIELDS.findall(line)
        if len(fields) not in (3, 4):
            mistakes.add(f"{where}: no judgement 'question 0 passage grade' (found: {line:.80})")
            continue
        name, passage, grade = fields[0], fields[-2], fields[-1]
        if not found and grade.isalpha():  # the names of BEIR's columns
            continue
        with mistakes.caught():
            value = parse_grade(grade, f"{where}: no judgement 'question 0 passage grade'")
            if found.setdefault(name, {}).setdefault(passage, value) != value:
                raise DataError(f"{where}: passage {passage!r} is judged twice for question {name!r}")
    mistakes.raise_any()
    return found


def known_id(name: str, known: Container[str]) -> str:
    """Return an id of a TREC file as it is known: as written, or without the escapes of `escaped`.

    Files of other tools have ids that hold a % of their own, so an id is known as written if it is known at all.
    """
    return unquote(name) if name not in known and unquote(name) in known else name


def answer_row(answer: Answer) -> Row:
    """Return an answer with everything it came from, as JSON takes it."""
    return {
        **_asked(answer.question),
        "text": answer.text,
        "abstained": answer.abstained,
        "citations": [
            {"start": c.start, "end": c.end, "context": c.context, "id": answer.contexts[c.context].passage.id}
            for c in answer.citations
        ],
        "contexts": [
            {**_scored(c, answer, answer.contexts_truncated), "title": c.passage.title, "text": c.passage.text}
            for c in answer.contexts
        ],
        "reranked": [_scored(c, answer, answer.truncated) for c in answer.reranked],
        "retrieved": [_retrieved(c, answer.second_round) for c in answer.retrieved],
        **({"second_queries": list(answer.second_round.queries)} if answer.second_round else {}),
        "timings": asdict(answer.timings),
        **({"states": asdict(answer.states)} if answer.states else {}),
    }


def _asked(question: Question) -> Row:
    history = {"history": [asdict(message) for message in question.history]} if question.history else {}
    return {"id": question.id, "question": question.text, **history}


def _read_rows(path: Path, mistakes: Mistakes) -> Iterator[tuple[Sequence[str], RankedQuestion]]:
    """Yield the ranking of each line with the place of every passage; a question that failed has no ranking."""
    for where, row in located_rows(path):
        if "error" in row and "ranking" not in row:
            continue
        with mistakes.caught():
            try:
                ids = tuple(parse_id(p["id"], where) for p in row["ranking"])
                scores = tuple(float(p.get("score", 0.0)) for p in row["ranking"])
            except (KeyError, TypeError, ValueError, AttributeError):
                found = ", ".join(sorted(row))
                raise DataError(f"{where}: no run, it needs 'ranking' with 'id' and 'score' (found: {found})") from None
            yield [where] * len(ids), RankedQuestion(parse_question(row, where), ids, scores)


def _read_trec(
    path: Path, questions: Mapping[str, Question], passages: Container[str] | None, mistakes: Mistakes
) -> Iterator[tuple[Sequence[str], RankedQuestion]]:
    """Yield each question's passages by falling score, as trec_eval does; equal scores by rank, then as they stand."""
    found: dict[str, list[tuple[float, float, str, str]]] = {}
    for number, line in text_lines(path):
        where, fields = f"{path}:{number}", _FIELDS.findall(line)
        try:
            name, _, passage, rank, score, _ = fields
            place, value = float(rank), float(score)
        except ValueError:
            mistakes.add(f"{where}: not 'question Q0 passage rank score tag' (found: {line:.80})")
            continue
        name = known_id(name, questions)
        if name not in found and name not in questions:
            mistakes.add(f"{where}: question {name!r} is not in the file of questions; pass theirs")
        passage = passage if passages is None else known_id(passage, passages)
        found.setdefault(name, []).append((value, place, passage, where))
    for name, entries in found.items():
        if name in questions:
            entries.sort(key=lambda entry: (-entry[0], entry[1]))
            scores, _, ids, places = zip(*entries, strict=True)
            yield places, RankedQuestion(questions[name], ids, scores)


def _check(places: Sequence[str], ranked: RankedQuestion, passages: Container[str] | None, mistakes: Mistakes) -> None:
    seen: set[str] = set()
    for where, name, score in zip(places, ranked.ids, ranked.scores, strict=True):
        if math.isnan(score):
            mistakes.add(f"{where}: the score of passage {name!r} is not a number; make the run again")
        if name in seen:
            mistakes.add(f"{where}: passage {name!r} stands twice for question {ranked.question.id!r}")
        elif passages is not None and name not in passages:
            mistakes.add(f"{where}: passage {name!r} is not among the passages; pass those that the run was made of")
        seen.add(name)


def escaped(name: str) -> str:
    """Return an id as TREC's files take it: white space and % as in addresses."""
    return re.sub(r"[\s%]", lambda found: quote(found.group()), name)


def _retrieved(found: ScoredPassage, second: SecondRound | None) -> Row:
    """Return a retrieved passage as a row; if there were two rounds, with the one that found it first."""
    return _scored(found) | ({"round": 2 if found.passage.id in second.found else 1} if second else {})


def _scored(found: ScoredPassage, answer: Answer | None = None, truncated: frozenset[str] = frozenset()) -> Row:
    passage = found.passage
    row: Row = {"id": passage.id, "source": asdict(passage.source) if passage.source else None, "score": found.score}
    if answer is not None and passage.id in answer.relevance:
        row["relevance"] = answer.relevance[passage.id]
    if passage.id in truncated:
        row["truncated"] = True
    return row
