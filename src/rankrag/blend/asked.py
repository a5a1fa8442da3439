"""What evaluation sets ask, in our form and in those in which the paper's sets are published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rankrag.data.arrays import is_packed, packed_rows
from rankrag.data.files import Row, read_rows, read_table
from rankrag.data.rows import parse_history
from rankrag.errors import DataError, Mistakes
from rankrag.types import Message

_TEXTS = ("question", "query", "input")
"""Where a row has its question: ours and most, ranking sets, KILT."""


def asked_rows(path: Path) -> Iterator[tuple[Row, tuple[Message, ...], str]]:
    """Yield (row, earlier turns, question) of a file; `DataError` lists, after the last row, all that ask nothing.

    Known are our rows, KILT's, ChatRAG's `messages`, MIRAGE's object of objects, arrays, and DPR's `.qas.csv`.
    """
    mistakes = Mistakes()
    for line, row in _rows(path, mistakes):
        where = f"{path}:{line}"
        with mistakes.caught():
            turns = row.get("messages") or row.get("history", [])
            history = parse_history(turns, where)
            text = next((row[key] for key in _TEXTS if isinstance(row.get(key), str)), None)
            if "messages" in row and history:
                *earlier, last = history
                history, text = tuple(earlier), last.content
            if text is None:
                found = ", ".join(sorted(row))
                raise DataError(f"{where}: no 'question' or 'query', 'input' or 'messages' (found: {found})")
            yield row, history, text
    mistakes.raise_any()


def _rows(path: Path, mistakes: Mistakes) -> Iterator[tuple[int, Row]]:
    def bad(error: DataError) -> None:
        mistakes.add(str(error))

    if path.name.endswith(".qas.csv"):
        for line, fields in read_table(path, ("question", "answers"), delimiter="\t"):
            if fields is None:
                mistakes.add(f"{path}:{line}: not a question, a tab and its answers; get the file anew")
            else:
                yield line, dict(fields)
    elif is_packed(path):
        for line, row in packed_rows(path, bad):
            yield from ((line, question) for question in _questions(row))
    else:
        yield from read_rows(path, bad)


def _questions(row: Row) -> Iterator[Row]:
    """Yield a row, or what it holds where it is an object of objects of rows."""
    if row and all(isinstance(value, dict) for value in row.values()):
        for value in row.values():
            yield from _questions(value)
    else:
        yield row
