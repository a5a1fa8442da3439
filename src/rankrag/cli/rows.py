"""Questions in, rows out: the work of `ask --questions`, `retrieve` and `rerank`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from rankrag.cli.options import say, step_lines
from rankrag.data.files import Row, write_lines
from rankrag.data.in_order import in_order
from rankrag.data.journal import Journal
from rankrag.data.runs import is_trec, trec_lines
from rankrag.errors import ConfigError

T = TypeVar("T")

Making = tuple[Callable[[str, Sequence[T]], Row], int]
"""What makes the journal's row of a batch from its key and its questions, and how many batches it takes at a time."""


def made_rows(
    batches: Sequence[tuple[str, Sequence[T]]],
    opened: Callable[[], Making[T]],
    journal: Journal[str, list[Row]],
    text: str,
) -> Iterator[Row]:
    """Yield the rows of all questions, in their order; what a killed run left in the journal is not made again.

    What makes the other batches is `opened` only if there are any. `text` names the work in the progress.
    """
    total = sum(len(batch) for _, batch in batches)
    todo = {key: batch for key, batch in batches if key not in journal}
    if known := sum(len(batch) for key, batch in batches if key in journal):
        say(f"{known} of {total} questions are done already.")
    made: Iterator[Row] = iter(())
    if todo:
        make, at_once = opened()
        made = in_order(lambda one: make(*one), todo.items(), at_once=at_once)
    done = 0
    with step_lines(passing=True) as step:
        for key, batch in batches:
            if key not in journal:
                journal.append([next(made)])
            yield from journal[key]
            done += len(batch)
            step(text, done, total)


def write_run(out: Path | None, rows: Iterable[Row]) -> int:
    """Write a run in the format of its name: to standard output line by line, to a file whole or not at all.

    Return how many questions have no ranking. Their rows have `error`; a TREC run has no place for it, so it is said.
    """
    if out is not None and out.is_dir():
        raise ConfigError(f"{out}: a folder; --out names the file of the run")
    trec, failed = out is not None and is_trec(out), 0

    def lines() -> Iterator[str]:
        nonlocal failed
        for row in rows:
            failed += "error" in row
            if not trec:
                yield json.dumps(row, ensure_ascii=False)
            elif "error" in row:
                say(f"rankrag: question {row['id']!r} is not in {out}: {row['error']}")
            else:
                yield from trec_lines(row)

    if out is not None:
        write_lines(out, (f"{line}\n".encode() for line in lines()))
        return failed
    for line in lines():
        print(line, flush=True)
    return failed
