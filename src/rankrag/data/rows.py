"""The one reader of rows: passages and questions, in our form (docs/data.md) and in those of BEIR, FlashRAG and MedRAG.

All commands are equally tolerant: an id may be a whole number, a field that is null counts as absent, and a passage may
have a title alone. `DataError` names the place, the mistake and what was found.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from rankrag.data.files import Row, located_rows, write_rows
from rankrag.errors import DataError
from rankrag.types import Message, Passage, Question, Style

_ROLES: dict[str, Literal["user", "assistant"]] = {"user": "user", "assistant": "assistant", "agent": "assistant"}
_CARRIED = ("candidates", "ranking", "contexts")
_QUESTION = ("question", "query", "text", "input")


Companion = Mapping[str, Any]
"""What a second file of the set says, by id."""


class LeftOut(Exception):  # noqa: N818 - not a mistake: the row is skipped and the reason is counted
    """A row that cannot be used; the message is the reason, as the manifest counts it."""


@dataclass(frozen=True, slots=True)
class Carried:
    """A passage that a row carries itself; `label` is None if the row does not say whether it is relevant."""

    passage: Passage
    label: bool | None


@dataclass(frozen=True, slots=True)
class QuestionRow:
    """A question and what its row says about passages.

    Attributes:
        question: the question, with the answers that are right.
        has_answers: whether the row says which answers are right, even if none is.
        positives: ids of gold passages.
        negatives: ids of passages that do not answer.
        near: ids of passages that only seem to answer.
        candidates: ids of the passages to choose from, the gold ones included.
        ranked: ids of a first stage, best first.
        grades: how relevant each passage is, by id; None without grades.
        carried_as: the key of the passages that the row carries: candidates, ranking, contexts or "".
        carried: these passages, in order.
    """

    question: Question
    has_answers: bool
    positives: tuple[str, ...]
    negatives: tuple[str, ...]
    near: tuple[str, ...]
    candidates: tuple[str, ...]
    ranked: tuple[str, ...]
    grades: Mapping[str, int] | None
    carried_as: str
    carried: tuple[Carried, ...]


def read_passages(path: Path) -> Iterator[Passage]:
    """Yield the passages of a file."""
    for where, row in located_rows(path):
        yield parse_passage(row, where)


def write_passages(path: Path, passages: Iterable[Passage]) -> None:
    """Write passages as `read_passages` reads them."""
    write_rows(path, ({"id": p.id, "title": p.title, "text": p.text} for p in passages))


def read_questions(path: Path) -> Iterator[Question]:
    """Yield the questions of a file, in its order; `DataError` names an id that stands twice."""
    seen: dict[str, str] = {}
    for where, row in located_rows(path):
        question = parse_question(row, where)
        note_place(seen, question.id, where)
        yield question


def note_place(seen: dict[str, str], name: str, where: str) -> None:
    """Keep the place of an id; `DataError` if it has one already."""
    if name in seen:
        raise DataError(f"{where}: id {name!r} stands in {seen[name]} already; ids must differ")
    seen[name] = where


def parse_passage(row: Row, where: str) -> Passage:
    """Return the passage of a row in any form of `passage_row`."""
    known = passage_row(row)
    name, text, title = known.get("id"), known.get("text"), known.get("title")
    if text is None and title:
        text = ""
    if name is None or not isinstance(text, str):
        raise DataError(f"{where}: no passage, it needs 'id' and 'text' (found: {_found(row)})")
    return Passage(parse_id(name, where), text, str(title or ""))


def passage_row(row: Row) -> Row:
    """Return a row with `id`, `text` and `title`, if it has them by other names, else unchanged.

    BEIR has `_id`, MedRAG's corpora have `content`, and FlashRAG's have `contents` with the title in its first line.
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


def parse_question(row: Row, where: str, style: Style | None = None) -> Question:
    """Return the question of a row; its id is by default the text itself.

    `style` is the style of a whole set. Without it the row says its own; the default is "conversation" after earlier
    turns, else the model's own. A choice has `options` and, in a set, the letter of the right one as `label`.
    """
    history, text = parse_asked(row, where)
    if not text.strip():
        raise DataError(f"{where}: the question is empty")
    name = next((row[key] for key in ("id", "_id") if row.get(key) is not None), text)
    own_style = style or row.get("style") or ("conversation" if history else None)
    if own_style not in (None, *get_args(Style)):
        raise DataError(f"{where}: style {own_style!r} is not known; known are {', '.join(get_args(Style))}")
    answers, items = _texts(row, "answers", where), _texts(row, "items", where)
    question = Question(parse_id(name, where), text, history, answers, own_style, items=items)
    if own_style == "choice" and (style or row.get("options") is not None):
        question = replace(question, options=parse_options(row.get("options"), where))
        return _labelled(question, row.get("label"), where) if style else question
    return question


def parse_asked(row: Row, where: str) -> tuple[tuple[Message, ...], str]:
    """Return the earlier turns and the question of a row, ours or a published one (KILT's `input`, `messages`)."""
    if row.get("messages"):
        *earlier, last = parse_history(row["messages"], where)
        return tuple(earlier), last.content
    text = next((row[key] for key in _QUESTION if isinstance(row.get(key), str)), None)
    if text is None:
        raise DataError(f"{where}: no question, it needs 'question' or 'query' (found: {_found(row)})")
    return parse_history(row.get("history"), where), text


def parse_row(row: Row, where: str, style: Style | None = None) -> QuestionRow:
    """Return a question with all that its row says about passages; `style` as in `parse_question`."""
    question = parse_question(row, where, style)
    carried_as = next((key for key in _CARRIED if row.get(key) is not None), "")
    return QuestionRow(
        question,
        row.get("answers") is not None,
        positives=parse_ids(row, "positive_ids", where),
        negatives=parse_ids(row, "negative_ids", where),
        near=parse_ids(row, "near_ids", where),
        candidates=parse_ids(row, "candidate_ids", where),
        ranked=parse_ids(row, "bm25_ids", where),
        grades=_grades(row, where),
        carried_as=carried_as,
        carried=tuple(_carried(row, carried_as, question.id, where)) if carried_as else (),
    )


def parse_options(value: object, where: str) -> tuple[str, ...]:
    """Return the texts of a multiple choice; its letters must be A, B, … in this order, two at least, up to Z."""
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise DataError(f"{where}: 'options' must be texts by letter (found: {value!r:.80})")
    texts = tuple(value.values())
    if len(texts) < 2 or tuple(value) != Question("", "", options=texts).letters:
        raise DataError(f"{where}: the options must be lettered A, B, … in order (found: {', '.join(map(str, value))})")
    return texts


def parse_history(turns: object, where: str) -> tuple[Message, ...]:
    """Return the earlier turns of a conversation, oldest first; the role `agent` is read as `assistant`."""
    if turns is None:
        return ()
    if not isinstance(turns, list):
        raise DataError(f"{where}: 'history' must be a list of turns (found: {type(turns).__name__})")
    messages = []
    for place, turn in enumerate(turns):
        role = _ROLES.get(str(turn.get("role"))) if isinstance(turn, dict) else None
        if role is None or not isinstance(turn.get("content"), str):
            raise DataError(f"{where}: turn {place} of 'history' needs a role (user, assistant) and a text as content")
        messages.append(Message(role, turn["content"]))
    return tuple(messages)


def parse_id(value: object, where: str) -> str:
    """Return an id: a text, or a whole number as text."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(f"{where}: an id must be a text or a whole number (found: {value!r:.80})")
    return str(value)


def parse_ids(row: Row, key: str, where: str) -> tuple[str, ...]:
    """Return the ids under a key, none if it is absent."""
    value = row.get(key)
    if value is not None and not isinstance(value, list):
        raise DataError(f"{where}: '{key}' must be a list of ids (found: {value!r:.80})")
    return tuple(parse_id(name, where) for name in value or ())


def parse_grade(value: object, where: str) -> int:
    """Return a grade: a whole number, also as 1.0 or as text."""
    try:
        grade = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else None
    except ValueError:
        grade = None
    if grade is None or not grade.is_integer():
        raise DataError(f"{where}: grades must be whole numbers (found: {value!r:.80})")
    return int(grade)


def _labelled(question: Question, label: object, where: str) -> Question:
    if label not in question.letters:
        raise DataError(f"{where}: the right option must be one of {', '.join(question.letters)} (found: {label!r})")
    return replace(question, answers=(str(label),))


def _texts(row: Row, key: str, where: str) -> tuple[str, ...]:
    value = row.get(key)
    if value is not None and not (isinstance(value, list) and all(isinstance(text, str) for text in value)):
        raise DataError(f"{where}: '{key}' must be a list of texts (found: {value!r:.80})")
    return tuple(value or ())


def _grades(row: Row, where: str) -> dict[str, int] | None:
    value = row.get("grades")
    if value is None:
        return None
    if not isinstance(value, dict):
        raise DataError(f"{where}: 'grades' must be whole numbers by passage id (found: {value!r:.80})")
    return {name: parse_grade(grade, f"{where}: 'grades'") for name, grade in value.items()}


def _carried(row: Row, key: str, name: str, where: str) -> Iterator[Carried]:
    """Yield the passages of a row; one without an id gets the question's id, "/c" and its place from 0."""
    if not isinstance(row[key], list):
        raise DataError(f"{where}: '{key}' must be a list of passages (found: {row[key]!r:.80})")
    gold = row.get("gold") if key == "contexts" else None
    for place, found in enumerate(row[key]):
        found = {"text": found} if isinstance(found, str) else found
        if not isinstance(found, dict):
            kind = type(found).__name__
            raise DataError(f"{where}: candidate {place} must be a text or an object with 'text' (found: {kind})")
        passage = parse_passage({"id": f"{name}/c{place}", **found}, f"{where}: candidate {place}")
        label = place in gold if gold is not None else found.get("label")
        if label is not None and not isinstance(label, bool):
            label = parse_grade(label, f"{where}: candidate {place}: 'label'") > 0
        yield Carried(passage, label)


def _found(row: Row) -> str:
    return ", ".join(sorted(row)) or "nothing"
