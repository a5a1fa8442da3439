"""Files on disk: JSON Lines, tables, JSON, plain or compressed; a file is written whole or not at all.

Every row is read with its file and line, for errors.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import zstandard

from rankrag.data.arrays import PIECE, packed_rows
from rankrag.errors import DataError

Row = dict[str, Any]

STDIN = Path("-")
"""Stands for standard input wherever rows are read."""

Located = tuple[str, Row]
"""Where a row stands, for errors, and the row."""

_LONGEST_FIELD = 1 << 24
"""Characters; Python's own limit is below some passages."""


def read_rows(path: Path, on_bad_row: Callable[[DataError], None] | None = None) -> Iterator[tuple[int, Row]]:
    """Yield (line number, row) of a file or of standard input (`-`); empty lines are passed over.

    `DataError` names the line that is not a JSON object, or says why the file cannot be read. With `on_bad_row`, bad
    lines are told to it instead and reading goes on.
    """
    number = 0
    try:
        with open_text(path) as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    row = _row(line, f"{path}:{number}")
                except DataError as error:
                    if on_bad_row is None:
                        raise
                    on_bad_row(error)
                else:
                    yield number, row
    except (OSError, zstandard.ZstdError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read ({reason}); check the name and that the file is whole") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}:{number + 1}: not UTF-8 ({error.reason}); save the file as UTF-8") from None


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Write rows, compressed where the name ends in `.zst`; return how many. The file appears whole or not at all."""
    return write_lines(path, map(row_line, rows))


def row_line(row: Row) -> bytes:
    """Return a row as a line of a file."""
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"


def write_lines(path: Path, lines: Iterable[bytes]) -> int:
    """Write lines of rows as `write_rows` does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    count = -1
    try:
        with partial.open("wb") as raw:
            sink = zstandard.ZstdCompressor(level=10).stream_writer(raw) if path.suffix == ".zst" else raw
            for count, line in enumerate(lines):  # noqa: B007
                sink.write(line)
            if sink is not raw:
                sink.close()
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return count + 1


def write_whole(path: Path, text: str) -> None:
    """Write a file in one step: readers see the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")  # other processes may write the same file
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def sha256(*paths: Path) -> str:
    """Return the SHA-256 of the files' bytes, one after the other; memory holds a block of them."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a file of UTF-8 text for reading: plain, compressed (`.zst`), or standard input (`-`)."""
    if path == STDIN:
        yield sys.stdin
    elif path.suffix == ".zst":
        with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
            yield io.TextIOWrapper(stream, "utf-8", newline="")
    else:
        with path.open(encoding="utf-8-sig", newline="") as plain:
            yield plain


def read_table(
    path: Path, names: Sequence[str] | None = None, *, delimiter: str = "\t"
) -> Iterator[tuple[int, Row | None]]:
    """Yield (line, row) of a table, None for a row of another number of fields.

    `names` are those of the columns; by default they stand in the first line.

    `DataError` where the file cannot be read.
    """
    csv.field_size_limit(_LONGEST_FIELD)
    try:
        with open_text(path) as lines:
            reader = csv.DictReader(lines, names, delimiter=delimiter)
            for row in reader:
                yield reader.line_num, None if None in row or None in row.values() else dict(row)
    except (OSError, UnicodeDecodeError, csv.Error, zstandard.ZstdError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None


def located_rows(path: Path, subset: str = "") -> Iterator[Located]:
    """Yield the rows of a file: JSON Lines, a JSON array, an object of objects (`subset` picks one), CSV or TSV.

    Tables have a header, but for DPR's `.qas.csv`: question, tab, answers.
    """
    if path.name.endswith(".qas.csv"):
        yield from _table(path, ("question", "answers"))
    elif path.suffix in (".tsv", ".csv"):
        yield from _table(path, None)
    elif path.suffix == ".json":
        yield from _json(path, subset)
    else:
        for line, row in read_rows(path):
            if not subset or row.get("subset") == subset:
                yield f"{path}:{line}", row


def corpus_files(path: Path) -> tuple[Path, ...]:
    """Return the files of a corpus by its name: a file, a file less its .jsonl, or all such files in a folder."""
    if path.is_dir():
        return tuple(sorted(of for of in path.rglob("*") if of.name.endswith((".jsonl", ".jsonl.zst"))))
    places = (path, path.with_name(f"{path.name}.jsonl"), path.with_name(f"{path.name}.jsonl.zst"))
    return next(((place,) for place in places if place.is_file()), ())


def _table(path: Path, names: tuple[str, ...] | None) -> Iterator[Located]:
    """Yield the rows of a table; DPR quotes its fields, the others do not."""
    delimiter = "," if path.suffix == ".csv" and names is None else "\t"
    for line, row in read_table(path, names, delimiter=delimiter):
        if row is None:
            raise DataError(f"{path}:{line}: not as many fields as the others; get the file anew")
        yield f"{path}:{line}", row


def _json(path: Path, subset: str) -> Iterator[Located]:
    """Yield the rows of a JSON file with their lines; rows of an object get their name as `id`."""
    if not _is_array(path):
        yield from _objects(path, whole_text(path), subset)
        return
    for line, row in packed_rows(path, _refuse):
        yield f"{path}:{line}", row


def _is_array(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(PIECE).lstrip().startswith(b"[")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})") from None


def _refuse(error: DataError) -> None:
    raise error


def _objects(path: Path, text: str, subset: str) -> Iterator[Located]:
    found = parsed_json(path)
    if not isinstance(found, dict):
        raise DataError(f"{path}: holds {type(found).__name__}, neither an array nor an object of rows")
    if subset:
        if not isinstance(found.get(subset), dict):
            raise DataError(f"{path}: no object {subset!r} (found: {', '.join(found)}); get the file anew")
        found = found[subset]
    place = text.find(json.dumps(subset)) if subset else 0
    line = 1 + text.count("\n", 0, place)
    for name, row in found.items():
        here = max(place, text.find(json.dumps(name, ensure_ascii=False), place))
        line += text.count("\n", place, here)
        place = here
        if not isinstance(row, dict):
            raise DataError(f"{path}:{line}: {name!r} holds {type(row).__name__}, not an object")
        yield f"{path}:{line}", {"id": name, **row}


def parsed_json(path: Path) -> Any:
    """Return what a JSON file holds; `DataError` names a key that an object has twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = dict(pairs)
        if len(names) < len(pairs):
            seen: set[str] = set()
            twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
            raise DataError(f"{path}: {twice!r} stands twice in one object; ids must differ")
        return names

    try:
        return json.loads(whole_text(path), object_pairs_hook=unique)
    except ValueError as error:
        raise DataError(f"{path}: not JSON ({error}); get the file anew") from None


def whole_text(path: Path) -> str:
    """Return the text of a file."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from None


def _row(line: str, where: str) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where}: not JSON ({error}); every line must be one JSON object") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: holds {type(row).__name__}, not a JSON object")
    return row
