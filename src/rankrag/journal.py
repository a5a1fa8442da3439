"""Work that survives a kill: finished rows are appended to a JSON Lines file, one whole line each."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rankrag.errors import DataError


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a journal, oldest first; none where there is no file.

    A last line that a kill cut short is removed from the file, so that the next row starts on a line of its own.
    """
    if not path.exists():
        return []
    text = path.read_bytes()
    whole = text.rfind(b"\n") + 1
    if whole < len(text):
        os.truncate(path, whole)
    rows = []
    for number, line in enumerate(text[:whole].splitlines(), start=1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise DataError(
                f"{path}:{number}: not a JSON row ({error}); delete the file to do the work again"
            ) from None
    return rows


def append_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Append rows and make sure that they are on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows))
        file.flush()
        os.fsync(file.fileno())


def write_whole(path: Path, text: str) -> None:
    """Write a file in one step: readers see the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")  # other processes may write the same file
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
