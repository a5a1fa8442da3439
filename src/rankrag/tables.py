"""Tables on disk, plain or compressed (`.zst`): a row a line, below a line of names, as DPR's Wikipedia is."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

import zstandard

from rankrag.errors import DataError
from rankrag.jsonl import Row, open_text

_LONGEST_FIELD = 1 << 24
"""Characters; Python's own limit is below some passages."""


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
