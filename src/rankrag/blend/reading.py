"""Reading a question set: rows of a file or a hub, in our form or a public one, with the passages they name.

Only passages that belong to the records are kept, so that a corpus shared with a dev split gives none of its passages
to training.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from rankrag.blend.licences import allows_commercial
from rankrag.blend.records import parse_record
from rankrag.blend.sources import Record, Source, document_of
from rankrag.config import SourceConfig
from rankrag.data.files import Located, OnBadRow, located_rows
from rankrag.data.hub import hub_rows
from rankrag.data.progress import Progress, quiet, watched
from rankrag.data.public import converted
from rankrag.data.rows import LeftOut, read_passages
from rankrag.errors import DataError, Mistakes
from rankrag.types import Passage

FORBIDDEN = "licence forbids commercial use"
"""Why a row was dropped: its own licence, or that of its source, does not allow it or is not stated."""


def read_source(
    wanted: SourceConfig, data: Path, *, seed: int = 0, commercial: bool = False, progress: Progress = quiet
) -> Source:
    """Return a question set of the folder `data`, or of a hub; `seed` draws the rows where there is a limit.

    `DataError` names file and line of all rows that are no JSON, fit no format or name a passage that is not there.
    """
    dropped: Counter[str] = Counter()
    passages: dict[str, Passage] = {}
    records: list[Record] = []
    origin: dict[str, str] = {}
    mistakes = Mistakes()
    raw = raw_rows(wanted, data, origin, mistakes.add)
    watched_rows = watched(raw, progress, f"{wanted.name}: reading rows")
    rows = converted(wanted.reader, watched_rows, dropped, mistakes.add)
    for where, row in _limited(_kept(wanted, rows, dropped, commercial), wanted.limit, random.Random(seed), dropped):
        try:
            records.append(parse_record(wanted, row, where, passages))
        except LeftOut as reason:
            dropped[str(reason)] += 1
        except DataError as error:
            mistakes.add(error)
    readable = wanted.corpus is None
    if wanted.corpus:
        read = watched(read_passages(data / wanted.corpus), progress, f"{wanted.name}: reading passages")
        with mistakes.caught():
            passages |= named_passages(read, records)
            readable = True
    for question, name in ((record.question, name) for record in records for name in record.positives):
        if readable and name not in passages:
            where = f"{wanted.rows}: question {question.id!r} names passage {name!r}"
            mistakes.add(f"{where}, which {wanted.corpus} does not hold")
    mistakes.raise_any()
    return Source(wanted.name, tuple(records), passages, dropped, origin)


def raw_rows(wanted: SourceConfig, data: Path, origin: dict[str, str], on_bad_row: OnBadRow) -> Iterator[Located]:
    """Yield the rows of a source as they stand, one at a time; what is no row is told to `on_bad_row`.

    Of a hub, `origin` gets the revision, where the hub says it, and after the last row the hash of all.
    """
    if wanted.hub is not None:
        return _hashed(hub_rows(wanted.hub, origin=origin), origin)
    return located_rows(data / wanted.rows, on_bad_row=on_bad_row)


def _hashed(rows: Iterable[Located], origin: dict[str, str]) -> Iterator[Located]:
    digest = hashlib.sha256()
    for where, row in rows:
        digest.update(json.dumps(row, sort_keys=True, default=str).encode() + b"\n")
        yield where, row
    origin["rows_sha256"] = digest.hexdigest()


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
