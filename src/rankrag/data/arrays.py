"""JSON files whose rows are the items of one array, as DPR publishes them, read a piece at a time; also compressed."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from rankrag.errors import DataError

Row = dict[str, Any]

PIECE = 2**20
"""Characters that are read at once; memory holds these and the row at hand."""

_BETWEEN = " \t\r\n,"


def is_packed(path: Path) -> bool:
    """Whether a file is read here, by its name: `.json` and `.gz`; all others are read line by line."""
    return path.suffix in (".json", ".gz")


def packed_rows(path: Path, on_bad_row: Callable[[DataError], None]) -> Iterator[tuple[int, Row]]:
    """Yield (line number, row) of a JSON array, or of objects one after the other, compressed with gzip or not.

    What is no object is told to `on_bad_row`. `DataError` where the file cannot be read or is no JSON from a line on.
    """
    line = 1
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as text:
            for line, value in _values(path, text):
                if isinstance(value, dict):
                    yield line, value
                else:
                    on_bad_row(DataError(f"{path}:{line}: holds {type(value).__name__}, not a JSON object"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: after line {line} not UTF-8 ({error.reason}); get the file anew") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read ({error}); check the name and that the file is whole") from None


def _values(path: Path, text: TextIO) -> Iterator[tuple[int, object]]:
    decoder, rest, place, line = json.JSONDecoder(), text.read(PIECE), 0, 1
    is_array = rest.lstrip(_BETWEEN + "\ufeff").startswith("[")
    if is_array:
        place = rest.index("[") + 1
        line += rest.count("\n", 0, place)
    while True:
        start = place
        while start < len(rest) and rest[start] in _BETWEEN:
            start += 1
        line += rest.count("\n", place, start)
        place = start
        if place == len(rest):
            rest, place = text.read(PIECE), 0
            if rest:
                continue
            if is_array:
                raise DataError(f"{path}:{line}: not JSON (the array has no end); get the file anew")
            return
        if is_array and rest[place] == "]":
            return
        try:
            value, end = decoder.raw_decode(rest, place)
        except json.JSONDecodeError as error:
            more = text.read(PIECE) if _is_cut(error, rest) else ""
            if not more:
                line += rest.count("\n", place, error.pos)
                raise DataError(f"{path}:{line}: not JSON ({error.msg}); get the file anew") from None
            rest, place = rest[place:] + more, 0
            continue
        yield line, value
        line += rest.count("\n", place, end)
        place = end


def _is_cut(error: json.JSONDecodeError, rest: str) -> bool:
    """Whether a value may only seem wrong because the piece ends within it."""
    return error.msg.startswith("Unterminated string") or error.pos > len(rest.rstrip()) - 12
