"""Training examples as JSON Lines: one `Example` a line, contexts written out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rankrag.data.files import read_rows, row_line, write_lines
from rankrag.data.rows import parse_history, parse_options
from rankrag.errors import DataError
from rankrag.types import DataKind, Example, Passage, Question


def write_examples(path: Path, examples: Iterable[Example]) -> int:
    """Write examples, compressed where the name ends in `.zst`; return how many."""
    return write_lines(path, map(example_line, examples))


def example_line(example: Example) -> bytes:
    """Return an example as a line of a file."""
    return row_line(_row(example))


def read_examples(path: Path) -> Iterator[Example]:
    """Yield the examples of a file; `DataError` names the line of a row that is none."""
    for where, row in read_rows(path):
        try:
            yield _example(row, where)
        except (KeyError, TypeError, ValueError) as error:
            found = ", ".join(sorted(row))
            raise DataError(f"{where}: no training example ({error!r}; found: {found})") from None


def _row(example: Example) -> dict[str, Any]:
    question = example.question
    return {
        "kind": example.kind.value,
        "source": example.source,
        "id": question.id,
        "question": question.text,
        "style": question.style,
        **({"options": dict(zip(question.letters, question.options, strict=True))} if question.options else {}),
        "history": [{"role": m.role, "content": m.content} for m in question.history],
        "contexts": [{"id": p.id, "title": p.title, "text": p.text} for p in example.contexts],
        "target": example.target,
    }


def _example(row: dict[str, Any], where: str) -> Example:
    history = parse_history(row.get("history", []), where)
    options = parse_options(row["options"], where) if "options" in row else ()
    question = Question(row["id"], row["question"], history=history, style=row.get("style", "short"), options=options)
    contexts = tuple(Passage(c["id"], c["text"], c.get("title", "")) for c in row["contexts"])
    return Example(DataKind(row["kind"]), row["source"], question, contexts, row["target"])
