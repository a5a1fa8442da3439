"""Reading a question set: rows of a file or a hub, in our form or a public one, with the passages they name.

Only passages that belong to the records are kept, so that a corpus shared with a dev split gives none of its passages
to training.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from rankrag.blend.licences import allows_commercial
from rankrag.blend.public import converted
from rankrag.blend.records import parse_record
from rankrag.blend.sources import LeftOut, Record, Source, document_of
from rankrag.blend.steps import Step, quiet, watched
from rankrag.config import HubConfig, SourceConfig
from rankrag.errors import DataError, MissingExtraError, first_line
from rankrag.jsonl import Row, read_passages, read_rows
from rankrag.types import Passage

Located = tuple[str, Row]
"""Where a row stands, for errors, and the row."""

FORBIDDEN = "licence forbids commercial use"
"""Why a row was dropped: its own licence, or that of its source, does not allow it or is not stated."""

_SHOWN = 5  # mistakes of one file that are written out


class HubUnreachableError(DataError):
    """No connection to the hub, so that asking it for the next data set is in vain."""


def read_source(
    wanted: SourceConfig, data: Path, *, seed: int = 0, commercial: bool = False, step: Step = quiet
) -> Source:
    """Return a question set of the folder `data`, or of a hub; `seed` draws the rows where there is a limit.

    `DataError` names file and line of the first rows that fit no format, and says how many more there are.
    """
    dropped: Counter[str] = Counter()
    passages: dict[str, Passage] = {}
    records: list[Record] = []
    mistakes: list[str] = []
    raw = watched(raw_rows(wanted, data), step, f"{wanted.name}: reading rows")
    rows = converted(wanted.reader, raw, dropped)
    for where, row in _limited(_kept(wanted, rows, dropped, commercial), wanted.limit, random.Random(seed), dropped):
        try:
            records.append(parse_record(wanted, row, where, passages))
        except LeftOut as reason:
            dropped[str(reason)] += 1
        except DataError as error:
            mistakes.append(str(error))
    if mistakes:
        more = f"; and {len(mistakes) - _SHOWN} more" if len(mistakes) > _SHOWN else ""
        raise DataError("; ".join(mistakes[:_SHOWN]) + more)
    if wanted.corpus:
        read = watched(read_passages(data / wanted.corpus), step, f"{wanted.name}: reading passages")
        passages |= named_passages(read, records)
    for record in records:
        for passage_id in record.positives:
            if passage_id not in passages:
                where = f"{wanted.rows}: question {record.question.id!r} names passage {passage_id!r}"
                raise DataError(f"{where}, which {wanted.corpus} does not hold")
    return Source(wanted.name, tuple(records), passages, dropped)


def raw_rows(wanted: SourceConfig, data: Path) -> Iterator[Located]:
    """Yield the rows of a source as they stand, one at a time."""
    if wanted.hub is not None:
        return hub_rows(wanted.hub)
    path = data / wanted.rows
    return ((f"{path}:{line}", row) for line, row in read_rows(path))


def hub_rows(hub: HubConfig, instead: str = "name its file as 'rows' with the same reader") -> Iterator[Located]:
    """Yield the rows of a data set of a hub as they arrive; nothing but the row at hand is in memory.

    `instead` is what the error advises for a set that was downloaded otherwise.
    """
    try:
        import datasets
    except ImportError:
        raise MissingExtraError('reading a hub needs datasets; install it with: pip install "rankrag[blend]"') from None
    try:
        rows = datasets.load_dataset(
            hub.name, hub.subset, data_files=hub.files, split=hub.split, revision=hub.revision, streaming=True
        )
        for number, row in enumerate(rows, start=1):
            yield f"{hub.name} ({hub.split}, row {number})", dict(row)
    except ConnectionError as error:
        raise HubUnreachableError(
            f"the hub cannot be reached ({first_line(error)}); check the network, or download the set and {instead}"
        ) from None
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"{hub.name}: cannot be read ({first_line(error)}); check name, subset and network, or download it and "
            f"{instead}"
        ) from None


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
