"""The rows of a blend, kept beside it for later runs: those of 300,000 examples take minutes to encode.

Of several processes that start at once, such as torchrun's, one builds them and the others read what it kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock

from rankrag.data.files import sha256, whole
from rankrag.data.journal import content_key
from rankrag.training.rows import Row, Tail
from rankrag.training.step_report import Say
from rankrag.types import DataKind

KEPT_FILES = 3
"""Newest files that stay in a blend's folder."""

MAKERS = ("data/examples.py", "data/files.py", "data/rows.py", "encoding.py", "templates.py", "training/rows.py")
"""The files that rows depend on: what other code built is built again, whatever its version."""

_IDS = pa.list_(pa.int32())
_TAIL = {"ids": _IDS, "target": _IDS, "weight": pa.float64(), "kind": pa.string(), "group": pa.int64()}
_SCHEMA = pa.schema({"prefix": _IDS, "tails": pa.list_(pa.struct(_TAIL))})


def kept_rows(blend: Path, depends_on: Mapping[str, Any], build: Callable[[], list[Row]], say: Say) -> list[Row]:
    """Return the rows of a blend's folder that were built from all this, else build and keep them.

    `depends_on` holds what decides the rows besides this code, as JSON. If nothing can be kept, `say` gets a line and
    every run builds its rows anew. What `build` raises is passed on.
    """
    code = sha256(*(Path(__file__).parents[1] / name for name in MAKERS))
    path = blend / f"rows-{content_key([code, depends_on])}.parquet"
    rows: list[Row] | None = None
    try:
        with FileLock(blend / "rows.lock"):
            rows = _read(path)
            if rows is None:
                rows = build()
                _write(path, rows)
    except OSError as error:
        say(f"{blend}: the encoded blend cannot be kept there ({error.strerror or error})")
    return build() if rows is None else rows


def _write(path: Path, rows: Sequence[Row]) -> None:
    found = [
        {"prefix": row.prefix, "tails": [{name: getattr(tail, name) for name in _TAIL} for tail in row.tails]}
        for row in rows
    ]
    with whole(path) as partial:
        pq.write_table(pa.Table.from_pylist(found, _SCHEMA), partial, compression="zstd")
    for old in sorted(path.parent.glob("rows-*.parquet"), key=lambda p: p.stat().st_mtime)[:-KEPT_FILES]:
        old.unlink()


def _read(path: Path) -> list[Row] | None:
    """Return what was kept; None if there is nothing, or if the file is damaged and has to be made anew."""
    with suppress(OSError, ValueError, KeyError):
        return [Row(tuple(row["prefix"]), list(map(_tail, row["tails"]))) for row in pq.read_table(path).to_pylist()]
    return None


def _tail(row: Mapping[str, Any]) -> Tail:
    return Tail(tuple(row["ids"]), tuple(row["target"]), row["weight"], DataKind(row["kind"]), row["group"])
