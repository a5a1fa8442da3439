"""Instruction data: a conversation whose last reply is the target, without passages (paper, section 4.1)."""

from __future__ import annotations

from collections.abc import Iterator

from rankrag.blend.sources import Record, Source
from rankrag.data.files import Row
from rankrag.data.rows import LeftOut, parse_history
from rankrag.errors import DataError
from rankrag.types import DataKind, Example, Question


def instruction_record(row: Row, where: str) -> Record:
    """Return the record of a row of `messages`: the last reply is the answer, the turns before it are the history.

    A turn of the user after the last reply is dropped. What the system says stands before the user's first turn.
    `LeftOut` where nobody replies; `DataError` where the row has another form.
    """
    turns = row.get("messages")
    if not isinstance(row.get("id"), str) or not isinstance(turns, list):
        raise DataError(f"{where}: no 'id' with 'messages' (found: {', '.join(sorted(row))}); see docs/data.md")
    system = [t["content"] for t in turns if isinstance(t, dict) and t.get("role") == "system" and t.get("content")]
    messages = list(parse_history([t for t in turns if not isinstance(t, dict) or t.get("role") != "system"], where))
    while messages and messages[-1].role == "user":
        messages.pop()
    if len(messages) < 2 or messages[-2].role != "user" or not messages[-1].content.strip():
        raise LeftOut("no reply to learn")
    *history, asked, reply = messages
    first = next(i for i, m in enumerate([*history, asked]) if m.role == "user")
    shown = [
        type(m)(m.role, "\n\n".join([*system, m.content])) if i == first else m for i, m in enumerate([*history, asked])
    ]
    question = Question(row["id"], shown[-1].content, tuple(shown[:-1]), (reply.content,), "plain")
    return Record(question, ())


def sft_examples(source: Source) -> Iterator[Example]:
    """Yield one example for each record of an instruction source."""
    for record in source.records:
        yield Example(DataKind.SFT, source.name, record.question, (), record.question.answers[0])
