"""Reading a question set: rows of a file or a hub, in our form or a public one, with the passages they name.

Only passages that belong to the records are kept, so that a corpus shared with a dev split gives none of its passages
to training.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from rankrag.blend.arrays import is_packed, packed_rows
from rankrag.blend.licences import allows_commercial
from rankrag.blend.public import converted
from rankrag.blend.records import parse_record
from rankrag.blend.sources import LeftOut, Record, Source, document_of
from rankrag.blend.steps import Step, quiet, watched
from rankrag.config import HubConfig, SourceConfig
from rankrag.errors import DataError, MissingExtraError, Mistakes, first_line
from rankrag.jsonl import Row, read_passages, read_rows
from rankrag.types import Passage

Located = tuple[str, Row]
"""Where a row stands, for errors, and the row."""

FORBIDDEN = "licence forbids commercial use"
"""Why a row was dropped: its own licence, or that of its source, does not allow it or is not stated."""

INSTEAD = "name its file as 'rows' with the same reader"
"""What is advised for a set of a hub that cannot be had from there."""


class HubUnreachableError(DataError):
    """No connection to the hub, so that asking it for the next data set is in vain."""

    def __init__(self, name: str, reason: str, instead: str = INSTEAD) -> None:
        super().__init__(
            f"{name}: the hub cannot be reached ({reason}); check the network, or download the set and {instead}"
        )


def read_source(
    wanted: SourceConfig, data: Path, *, seed: int = 0, commercial: bool = False, step: Step = quiet
) -> Source:
    """Return a question set of the folder `data`, or of a hub; `seed` draws the rows where there is a limit.

    `DataError` names file and line of all rows that are no JSON, fit no format or name a passage that is not there.
    """
    dropped: Counter[str] = Counter()
    passages: dict[str, Passage] = {}
    records: list[Record] = []
    origin: dict[str, str] = {}
    mistakes = Mistakes()
    raw = raw_rows(wanted, data, origin, lambda error: mistakes.add(str(error)))
    watched_rows = watched(raw, step, f"{wanted.name}: reading rows")
    rows = converted(wanted.reader, watched_rows, dropped, lambda error: mistakes.add(str(error)))
    for where, row in _limited(_kept(wanted, rows, dropped, commercial), wanted.limit, random.Random(seed), dropped):
        try:
            records.append(parse_record(wanted, row, where, passages))
        except LeftOut as reason:
            dropped[str(reason)] += 1
        except DataError as error:
            mistakes.add(str(error))
    readable = wanted.corpus is None
    if wanted.corpus:
        read = watched(read_passages(data / wanted.corpus), step, f"{wanted.name}: reading passages")
        with mistakes.caught():
            passages |= named_passages(read, records)
            readable = True
    for question, name in ((record.question, name) for record in records for name in record.positives):
        if readable and name not in passages:
            where = f"{wanted.rows}: question {question.id!r} names passage {name!r}"
            mistakes.add(f"{where}, which {wanted.corpus} does not hold")
    mistakes.raise_any()
    return Source(wanted.name, tuple(records), passages, dropped, origin)


def raw_rows(
    wanted: SourceConfig, data: Path, origin: dict[str, str], on_bad_row: Callable[[DataError], None]
) -> Iterator[Located]:
    """Yield the rows of a source as they stand, one at a time; what is no row is told to `on_bad_row`.

    Of a hub, `origin` gets the revision, where the hub says it, and after the last row the hash of all.
    """
    if wanted.hub is not None:
        return _hashed(hub_rows(wanted.hub, origin=origin), origin)
    path = data / wanted.rows
    rows = packed_rows(path, on_bad_row) if is_packed(path) else read_rows(path, on_bad_row)
    return ((f"{path}:{line}", row) for line, row in rows)


def hub_rows(hub: HubConfig, instead: str = INSTEAD, origin: dict[str, str] | None = None) -> Iterator[Located]:
    """Yield the rows of a data set of a hub as they arrive; nothing but the row at hand is in memory.

    `instead` is what the error advises for a set that was downloaded otherwise; `origin` gets the `revision`.
    """
    try:
        import datasets
    except ImportError:
        raise MissingExtraError('reading a hub needs datasets; install it with: pip install "rankrag[blend]"') from None
    try:
        rows = _streamed(hub)
        if origin is not None and (commit := _revision(hub, rows)):
            origin["revision"] = commit
        for number, row in enumerate(rows, start=1):
            yield f"{hub.name} ({hub.split}, row {number})", dict(row)
    except ConnectionError as error:
        raise HubUnreachableError(hub.name, first_line(error), instead) from None
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"{hub.name}: cannot be read ({first_line(error)}); check name, subset and network, or download it and "
            f"{instead}"
        ) from None


def _streamed(hub: HubConfig) -> Iterable[Row]:
    """Return the rows of a data set of a hub, each read when it is its turn.

    A repository that also holds a loading script is refused (`RuntimeError`), whatever is asked of it; its data files
    are read by their addresses.
    """
    from datasets import load_dataset

    files = {hub.split: hub.files} if hub.files else None
    options = {"split": hub.split, "streaming": True}
    rows: Iterable[Row]
    try:
        rows = load_dataset(hub.name, hub.subset, data_files=files, revision=hub.revision, **options)
    except RuntimeError as error:
        if not hub.files or "scripts" not in str(error):
            raise
        at = f"@{hub.revision}" if hub.revision else ""
        form = "parquet" if ".parquet" in hub.files else "json"
        address = f"hf://datasets/{hub.name}{at}/{hub.files}"
        rows = load_dataset(form, data_files={hub.split: address}, **options)
    return rows


def _hashed(rows: Iterable[Located], origin: dict[str, str]) -> Iterator[Located]:
    digest = hashlib.sha256()
    for where, row in rows:
        digest.update(json.dumps(row, sort_keys=True, default=str).encode() + b"\n")
        yield where, row
    origin["rows_sha256"] = digest.hexdigest()


def _revision(hub: HubConfig, rows: object) -> str:
    """Return the commit of streamed rows, which stands in the addresses of their files; else what was asked for."""
    files = getattr(getattr(rows, "_ex_iterable", None), "kwargs", {})
    found = re.search(r"@([0-9a-f]{40})/", str(files))
    return found[1] if found else hub.revision or ""


def named_passages(corpus: Iterable[Passage], records: Iterable[Record]) -> dict[str, Passage]:
    """Return the passages of a corpus that the records name, and the others of the same documents."""
    wanted = {i for record in records for i in (*record.positives, *record.negatives, *record.near)}
    documents = {d for d in map(document_of, wanted) if d}
    return {p.id: p for p in corpus if p.id in wanted or document_of(p.id) in documents}


def _kept(wanted: SourceConfig, rows: Iterable[Located], dropped: Counter[str], commercial: bool) -> Iterator[Located]:
    for where, row in rows:
        if any(str(row.get(name)) not in values for name, values in wanted.where.items()):
            dropped["not asked for (where)"] += 1
        elif commercial and not allows_commercial(str(row.get("licence") or wanted.licence)):
            dropped[FORBIDDEN] += 1
        else:
            yield where, row


def _limited(
    rows: Iterable[Located], limit: int | None, rng: random.Random, dropped: Counter[str]
) -> Iterable[Located]:
    """Return at most `limit` rows, each equally likely, in their order; memory holds no more than these."""
    if limit is None:
        return rows
    stream = enumerate(rows)
    found = list(islice(stream, limit))
    for number, row in stream:
        place = rng.randrange(number + 1)
        if place < limit:
            found[place] = (number, row)
        dropped["beyond the limit"] += 1
    return (row for _, row in sorted(found, key=lambda item: item[0]))
