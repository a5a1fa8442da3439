"""Rows of passages, questions and conversations: our form (docs/data.md) and those of BEIR, FlashRAG and MedRAG."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Literal, get_args

from rankrag.data.files import Row, read_rows
from rankrag.errors import DataError
from rankrag.types import Answer, Message, Passage, Question, ScoredPassage, Style

_ROLES: dict[str, Literal["user", "assistant"]] = {"user": "user", "assistant": "assistant", "agent": "assistant"}


def read_passages(path: Path) -> Iterator[Passage]:
    """Yield the passages of a file whose rows have `id` (BEIR: `_id`), `text` and, where known, `title`."""
    for line, row in read_rows(path):
        yield parse_passage(row, f"{path}:{line}")


def read_questions(path: Path) -> Iterator[Question]:
    """Yield the questions of a file, in its order; an id that stands twice is a `DataError`."""
    seen: dict[str, int] = {}
    for line, row in read_rows(path):
        question = parse_question(row, f"{path}:{line}")
        if question.id in seen:
            first = seen[question.id]
            raise DataError(f"{path}:{line}: id {question.id!r} stands in line {first} already; ids must differ")
        seen[question.id] = line
        yield question


def parse_passage(row: Row, where: str) -> Passage:
    """Return the passage of a row in any form of `passage_row`; `DataError` names what is missing."""
    known = passage_row(row)
    name, text = known.get("id"), known.get("text")
    if not isinstance(name, str | int) or not isinstance(text, str):
        raise DataError(f"{where}: no passage, it needs 'id' and 'text' (found: {_found(row)})")
    return Passage(str(name), text, str(known.get("title") or ""))


def passage_row(row: Row) -> Row:
    """Return a row with `id`, `text` and `title` where it has them by other names, and else as it is.

    BEIR has `_id`, MedRAG's corpora have `content`, and FlashRAG's `contents` with the title in the first of its lines.
    """
    if "id" not in row and "_id" in row:
        row = {**row, "id": row["_id"]}
    if "text" in row:
        return row
    if isinstance(row.get("content"), str):
        return {**row, "text": row["content"]}
    if isinstance(row.get("contents"), str):
        title, found, text = row["contents"].partition("\n")
        if not found:
            return {**row, "text": row["contents"]}
        return {**row, "title": title.removeprefix('"').removesuffix('"'), "text": text}
    return row


def parse_question(row: Row, where: str) -> Question:
    """Return the question of a row: `question`, `query` or BEIR's `text`; `DataError` names what is missing.

    `id` (BEIR: `_id`) is by default the text itself. `style` is by default "conversation" after earlier turns;
    `options` are read where it is "choice".
    """
    text = next((row[key] for key in ("question", "query", "text") if key in row), None)
    if not isinstance(text, str):
        raise DataError(f"{where}: no question, it needs 'question' or 'query' (found: {_found(row)})")
    if not text.strip():
        raise DataError(f"{where}: the question is empty")
    history = parse_history(row.get("history", []), where)
    answers, style = row.get("answers", []), row.get("style", "conversation" if history else "short")
    if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
        raise DataError(f"{where}: 'answers' must be a list of texts (found: {answers!r:.80})")
    if style not in get_args(Style):
        raise DataError(f"{where}: style {style!r} is not known; known are {', '.join(get_args(Style))}")
    options = parse_options(row["options"], where) if style == "choice" and "options" in row else ()
    return Question(str(row.get("id", row.get("_id", text))), text, history, tuple(answers), style, options)


def parse_options(value: object, where: str) -> tuple[str, ...]:
    """Return the texts of a multiple choice, whose letters must be A, B, … in this order, two at least."""
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise DataError(f"{where}: 'options' must be texts by letter (found: {value!r:.80})")
    texts = tuple(value.values())
    if len(texts) < 2 or tuple(value) != Question("", "", options=texts).letters:
        raise DataError(f"{where}: the options must be lettered A, B, … in order (found: {', '.join(map(str, value))})")
    return texts


def as_choice(question: Question, row: Row, where: str) -> Question:
    """Return a question with the row's `options`, and as its answer the letter of the right one, the row's `label`."""
    question = replace(question, options=parse_options(row.get("options"), where))
    label = row.get("label")
    if label not in question.letters:
        raise DataError(f"{where}: the right option must be one of {', '.join(question.letters)} (found: {label!r})")
    return replace(question, answers=(str(label),))


def parse_history(turns: object, where: str) -> tuple[Message, ...]:
    """Return the earlier turns of a conversation, oldest first; the role `agent` is read as `assistant`."""
    if not isinstance(turns, list):
        raise DataError(f"{where}: 'history' must be a list of turns (found: {type(turns).__name__})")
    messages = []
    for place, turn in enumerate(turns):
        role = _ROLES.get(str(turn.get("role"))) if isinstance(turn, dict) else None
        if role is None or not isinstance(turn.get("content"), str):
            raise DataError(f"{where}: turn {place} of 'history' needs a role (user, assistant) and a text as content")
        messages.append(Message(role, turn["content"]))
    return tuple(messages)


def answer_row(answer: Answer) -> Row:
    """Return an answer with everything it came from, as JSON takes it."""
    question = answer.question
    history = {"history": [asdict(message) for message in question.history]} if question.history else {}
    return {
        "id": question.id,
        "question": question.text,
        **history,
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
        "retrieved": [_scored(c) for c in answer.retrieved],
        "timings": asdict(answer.timings),
        **({"states": asdict(answer.states)} if answer.states else {}),
    }


def _scored(found: ScoredPassage, answer: Answer | None = None, truncated: frozenset[str] = frozenset()) -> Row:
    passage = found.passage
    row: Row = {"id": passage.id, "source": asdict(passage.source) if passage.source else None, "score": found.score}
    if answer is not None and passage.id in answer.relevance:
        row["relevance"] = answer.relevance[passage.id]
    if passage.id in truncated:
        row["truncated"] = True
    return row


def _found(row: Row) -> str:
    return ", ".join(sorted(row)) or "nothing"
