"""Files on disk: rows as JSON Lines, JSON or tables, plain or compressed; written whole or not at all.

Every row comes with its file and line, for errors.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import zstandard

from rankrag.errors import DataError

Row = dict[str, Any]

STDIN = Path("-")
"""Stands for standard input wherever rows are read."""

Located = tuple[str, Row]
"""The place of a row, for errors, and the row."""

OnBadRow = Callable[[DataError], None]
"""Hears what is wrong with a row that is then skipped."""

PIECE = 2**20
"""Characters of a JSON file that are read at once; memory holds these and the row at hand."""

_BETWEEN = " \t\r\n,\ufeff"
_LONGEST_FIELD = 1 << 24  # characters; Python's own limit is below some passages


def located_rows(path: Path, subset: str = "", on_bad_row: OnBadRow | None = None) -> Iterator[Located]:
    """Yield the rows of a file with their places.

    By the file's name, `.zst` or `.gz` left out, it is JSON Lines (the default), JSON (`.json`: an array, an object of
    objects, or objects in sequence; also a bare `.gz`), or a table (`.csv`, `.tsv`, with a header; DPR's `.qas.csv` has
    none). `subset` chooses one object of an object of objects, or the rows with that `subset`. `DataError` names a bad
    row, unless `on_bad_row` hears of it.
    """
    packed = path.suffix in (".zst", ".gz")
    form = path.with_suffix("").suffix if packed else path.suffix
    if form == ".json" or (path.suffix == ".gz" and form not in (".jsonl", ".csv", ".tsv")):
        return _json_rows(path, subset, on_bad_row or _refuse)
    if form in (".csv", ".tsv"):
        return _table_rows(path, form, on_bad_row or _refuse)
    rows = read_rows(path, on_bad_row)
    return ((where, row) for where, row in rows if not subset or row.get("subset") == subset)


def read_rows(path: Path, on_bad_row: OnBadRow | None = None) -> Iterator[Located]:
    """Yield the rows of JSON Lines in a file or in standard input (`-`) with their places; empty lines are skipped.

    `DataError` names a line that is not a JSON object, unless `on_bad_row` hears of it, or says why the file cannot be
    read.
    """
    for number, line in text_lines(path):
        where = f"{path}:{number}"
        try:
            row = _row(line, where)
        except DataError as error:
            (on_bad_row or _refuse)(error)
        else:
            yield where, row


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line number, line) of a text file; empty lines are skipped."""
    number = 0
    with _explained(path, lambda: number + 1), open_text(path) as lines:
        for number, line in enumerate(lines, start=1):
            line = line.strip("\ufeff\r\n")  # a byte order mark may stand before the first line of standard input
            if line and not line.isspace():
                yield number, line


def read_json(path: Path) -> Any:
    """Return the value of a JSON file; `DataError` names a key that an object has twice."""
    with _explained(path), open_text(path) as file:
        try:
            return json.load(file, object_pairs_hook=partial(_unique, path))
        except ValueError as error:
            raise DataError(f"{path}: not JSON ({error}); get the file again") from None


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Write rows, compressed if the name ends in `.zst`; return how many. The file appears whole or not at all."""
    return write_lines(path, map(row_line, rows))


def row_line(row: Row) -> bytes:
    """Return a row as a line of a file."""
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"


def write_lines(path: Path, lines: Iterable[bytes]) -> int:
    """Write lines of rows as `write_rows` does."""
    count = -1
    with whole(path) as partial, partial.open("wb") as raw:
        sink = zstandard.ZstdCompressor(level=10).stream_writer(raw) if path.suffix == ".zst" else raw
        for count, line in enumerate(lines):  # noqa: B007
            sink.write(line)
        sink.close()
    return count + 1


def write_whole(path: Path, text: str) -> None:
    """Write a file in one step: readers see the old one or the new one."""
    with whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield where to write a file, which then takes the place of `path`; if that fails, nothing is left of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")  # other processes may write the same file
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def sha256(*paths: Path) -> str:
    """Return the SHA-256 of the files' bytes, one file after the other; memory holds one block."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def cache_dir() -> Path:
    """Return the folder for what can be made or fetched again: $RANKRAG_CACHE, else the user's cache folder."""
    if found := os.environ.get("RANKRAG_CACHE"):
        return Path(found)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rankrag"


@contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open UTF-8 text for reading: plain, compressed (`.zst`, `.gz`), or standard input (`-`)."""
    if path == STDIN:
        yield sys.stdin
    elif path.suffix == ".zst":
        with path.open("rb") as raw, zstandard.ZstdDecompressor().stream_reader(raw) as stream:
            yield io.TextIOWrapper(stream, "utf-8-sig", newline="")
    elif path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as text:
            yield text
    else:
        with path.open(encoding="utf-8-sig", newline="") as text:
            yield text


@contextmanager
def _explained(path: Path, line: Callable[[], int] | None = None) -> Iterator[None]:
    """Raise a `DataError` that says why a file cannot be read."""
    try:
        yield
    except UnicodeDecodeError as error:
        where = f"{path}:{line()}" if line else f"{path}"
        raise DataError(f"{where}: not UTF-8 ({error.reason}); save the file as UTF-8") from None
    except (OSError, EOFError, zlib.error, zstandard.ZstdError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read ({reason}); check the name and that the file is whole") from None


def _row(line: str, where: str) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where}: not JSON ({error}); every line must be one JSON object") from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: holds {type(row).__name__}, not a JSON object")
    return row


def _table_rows(path: Path, form: str, on_bad_row: OnBadRow) -> Iterator[Located]:
    """Yield the rows of a table by the names in its first line; empty rows are skipped."""
    names = ("question", "answers") if path.name.endswith(".qas.csv") else None
    csv.field_size_limit(_LONGEST_FIELD)
    with _explained(path), open_text(path) as lines:
        reader = csv.DictReader(lines, names, delimiter="," if form == ".csv" and names is None else "\t")
        for row in reader:
            where = f"{path}:{reader.line_num}"
            if not any(isinstance(field, str) and field.strip() for field in row.values()):
                continue
            if None in row or None in row.values():
                on_bad_row(DataError(f"{where}: not as many fields as the others; get the file again"))
            else:
                yield where, dict(row)


def _json_rows(path: Path, subset: str, on_bad_row: OnBadRow) -> Iterator[Located]:
    """Yield the rows of a JSON file; those of an object of objects have their names as `id`, and in their place."""
    for line, value in _values(path):
        if subset:
            if not isinstance(value, dict) or not isinstance(value.get(subset), dict):
                found = ", ".join(value) if isinstance(value, dict) else type(value).__name__
                raise DataError(f"{path}: no object {subset!r} (found: {found}); get the file again")
            yield from _named_rows(f"{path}:{line}", value[subset], on_bad_row)
        elif isinstance(value, dict) and _holds_rows(value):
            yield from _named_rows(f"{path}:{line}", value, on_bad_row)
        elif isinstance(value, dict):
            yield f"{path}:{line}", value
        else:
            on_bad_row(DataError(f"{path}:{line}: holds {type(value).__name__}, not a JSON object"))


def _holds_rows(value: Row) -> bool:
    return bool(value) and all(isinstance(row, dict) for row in value.values())


def _named_rows(where: str, value: Row, on_bad_row: OnBadRow) -> Iterator[Located]:
    for name, row in value.items():
        if not isinstance(row, dict):
            on_bad_row(DataError(f"{where}: {name!r} holds {type(row).__name__}, not an object"))
        elif _holds_rows(row):
            yield from _named_rows(where, row, on_bad_row)
        else:
            yield f"{where} ({name})", {"id": name, **row}


def _values(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (line, value) of the items of an array, or of values one after the other."""
    decoder, line = json.JSONDecoder(object_pairs_hook=partial(_unique, path)), 1
    with _explained(path, lambda: line), open_text(path) as file:
        rest, place, size = file.read(PIECE), 0, PIECE
        is_array = rest.lstrip(_BETWEEN).startswith("[")
        if is_array:
            place = rest.index("[") + 1
            line += rest.count("\n", 0, place)
        while True:
            start = next((i for i in range(place, len(rest)) if rest[i] not in _BETWEEN), len(rest))
            line += rest.count("\n", place, start)
            if start == len(rest):
                rest, place = file.read(PIECE), 0
                if rest:
                    continue
                if is_array:
                    raise DataError(f"{path}:{line}: not JSON (the array has no end); get the file again")
                return
            if is_array and rest[start] == "]":
                return
            try:
                value, place = decoder.raw_decode(rest, start)
            except json.JSONDecodeError as error:
                size *= 2  # a value longer than a piece is parsed again and again: twice as much each time
                more = file.read(size) if _is_cut(error, rest) else ""
                if not more:
                    line += rest.count("\n", start, error.pos)
                    raise DataError(f"{path}:{line}: not JSON ({error.msg}); get the file again") from None
                rest, place = rest[start:] + more, 0
                continue
            yield line, value
            line += rest.count("\n", start, place)


def _unique(path: Path, pairs: list[tuple[str, Any]]) -> Row:
    names: Row = {}
    for name, value in pairs:
        if name in names:
            raise DataError(f"{path}: {name!r} stands twice in one object; ids must differ")
        names[name] = value
    return names


def _is_cut(error: json.JSONDecodeError, rest: str) -> bool:
    """Whether a value may only seem wrong because the piece ends within it."""
    return error.msg.startswith("Unterminated string") or error.pos > len(rest.rstrip()) - 12


def _refuse(error: DataError) -> None:
    raise error


def read_ahead(*paths: Path) -> None:
    """Let the system read files into memory beside what follows, where it can."""
    for path in paths:
        with suppress(OSError, AttributeError), path.open("rb") as file:  # the second: not every system has the call
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)
