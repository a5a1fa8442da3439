"""Work that survives a kill: finished rows are appended to a JSON Lines file, one whole line each."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from rankrag.data.files import Row
from rankrag.data.in_order import in_order
from rankrag.data.progress import Progress, quiet
from rankrag.errors import DataError

_ROW_START = b'{"'

K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")


def content_key(parts: Sequence[Any]) -> str:
    """Return a key for a result that depends on nothing but these JSON values."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()[:24]


class Journal(Mapping[K, V]):
    """What the rows of a journal hold, by key. `fill` makes the rows that are missing and appends them.

    A row may hold several keys, or none; a later row replaces an earlier one.
    """

    def __init__(
        self,
        path: Path | None,
        items: Callable[[Row], Iterable[tuple[K, V]]],
        *,
        is_row: Callable[[Row], bool] = lambda _: True,
    ) -> None:
        """Read the rows of earlier runs.

        Args:
            path: the file, created by the first row; None keeps the rows in memory only.
            items: returns the keys and values of a row.
            is_row: whether a row was written by this work; `DataError` if one was not.
        """
        self._path, self._items = path, items
        self._values: dict[K, V] = {}
        for row in _read(path, is_row) if path else ():
            self._values.update(items(row))

    def __getitem__(self, key: K) -> V:
        """Return the newest value of a key."""
        return self._values[key]

    def __iter__(self) -> Iterator[K]:
        """Yield the keys, oldest first."""
        return iter(self._values)

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._values)

    def append(self, rows: Iterable[Row]) -> None:
        """Take rows in; return when they are on the disk."""
        rows = list(rows)
        if self._path:
            append_rows(self._path, rows)
        for row in rows:
            self._values.update(self._items(row))

    def fill(
        self,
        wanted: Mapping[K, T],
        make: Callable[[Mapping[K, T]], Iterable[Row]],
        *,
        at_once: int = 1,
        side_by_side: int = 1,
        progress: Progress = quiet,
        text: str = "",
    ) -> None:
        """Make the rows of the wanted keys that are missing, and append each batch as soon as it is made.

        Args:
            wanted: what each key needs to be made, in order.
            make: returns the rows of a batch; keys that it makes no row for stay missing.
            at_once: keys in a batch.
            side_by_side: batches that are made at the same time, by threads; they are appended in their order.
            progress: hears, under `text`, how many of the wanted keys are done: at first those of earlier runs.
        """
        missing = {key: value for key, value in wanted.items() if key not in self._values}
        if not missing:
            return
        done = len(wanted) - len(missing)
        progress(text, done, len(wanted))
        todo = iter(missing.items())
        batches = iter(lambda: dict(islice(todo, at_once)), {})
        for count, rows in in_order(lambda batch: (len(batch), list(make(batch))), batches, at_once=side_by_side):
            self.append(rows)
            done += count
            progress(text, done, len(wanted))


def _read(path: Path, is_row: Callable[[Row], bool]) -> list[Row]:
    """Return the rows of a journal, oldest first; none if there is no file.

    A last line that a kill cut short is removed from the file, so that the next row starts on a line of its own.
    `DataError` if an earlier line is not a JSON object or not a row of this work (`is_row`): then the file is somebody
    else's and stays as it is.
    """
    if not path.exists():
        return []
    *lines, last = path.read_bytes().split(b"\n")
    rows = [_row(line, f"{path}:{number}", is_row) for number, line in enumerate(lines, start=1)]
    if last:
        try:
            json.loads(last)
        except ValueError:
            if not last.startswith(_ROW_START[: len(last)]):
                raise _not_ours(f"{path}:{len(rows) + 1}", "not a JSON row") from None
            os.truncate(path, path.stat().st_size - len(last))
        else:
            rows.append(_row(last, f"{path}:{len(rows) + 1}", is_row))
            with path.open("ab") as file:
                file.write(b"\n")
    return rows


def append_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append rows and make sure that they are on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows))
        file.flush()
        os.fsync(file.fileno())


def _row(line: bytes, where: str, is_row: Callable[[Row], bool]) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise _not_ours(where, f"not a JSON row ({error})") from None
    if not isinstance(row, dict) or not is_row(row):
        raise _not_ours(where, f"not a row of this work (found: {line[:60].decode(errors='replace')})")
    return row


def _not_ours(where: str, found: str) -> DataError:
    return DataError(f"{where}: {found}; choose another file, or, if rankrag wrote it, delete the file to start over")
