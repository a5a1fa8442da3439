"""Work that survives a kill: finished rows are appended to a JSON Lines file, one whole line each."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from rankrag.errors import DataError

_ROW_START = b'{"'


def read_journal(path: Path, is_row: Callable[[Mapping[str, Any]], bool] = lambda _: True) -> list[dict[str, Any]]:
    """Return the rows of a journal, oldest first; none where there is no file.

    A last line that a kill cut short is removed from the file, so that the next row starts on a line of its own.
    `DataError`, and a file that is as it was, where a line before it is no JSON object, or none of which `is_row`
    says that this work wrote it: then the file is somebody else's.
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


def _row(line: bytes, where: str, is_row: Callable[[Mapping[str, Any]], bool]) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise _not_ours(where, f"not a JSON row ({error})") from None
    if not isinstance(row, dict) or not is_row(row):
        raise _not_ours(where, f"not a row of this work (found: {line[:60].decode(errors='replace')})")
    return row


def _not_ours(where: str, found: str) -> DataError:
    return DataError(f"{where}: {found}; choose another file, or, if rankrag wrote it, delete the file to begin anew")
