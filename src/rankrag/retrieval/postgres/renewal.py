"""BM25 terms made again for all passages of an index, for a format whose terms differ from those of the last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby, islice
from typing import TYPE_CHECKING

from rankrag.retrieval.fields import passage_terms
from rankrag.retrieval.postgres.retrievers import COLUMNS, passages_from
from rankrag.retrieval.postgres.writing import add_postings

if TYPE_CHECKING:
    from psycopg import Connection

_AT_ONCE = 1_000  # documents

Terms = dict[int, Sequence[str]]
"""The terms of a document's passages, by their number."""


def renew_terms(connection: Connection) -> None:
    """Give all passages the terms that they would get today; vectors and numbers stay."""
    connection.execute("LOCK TABLE documents IN SHARE ROW EXCLUSIVE MODE")  # writers wait, readers go on
    connection.execute("DELETE FROM postings")
    documents = _documents(connection)
    while batch := dict(islice(documents, _AT_ONCE)):
        add_postings(connection, batch)
        lengths = {number: len(terms) for own in batch.values() for number, terms in own.items()}
        query = "UPDATE passages SET terms = given.terms FROM unnest(%s::int[], %s::int[]) AS given(number, terms)"
        connection.execute(f"{query} WHERE passages.number = given.number", [list(lengths), list(lengths.values())])
    connection.execute("UPDATE state SET terms = (SELECT coalesce(sum(terms), 0) FROM passages)")


def _documents(connection: Connection) -> Iterator[tuple[int, Terms]]:
    with connection.cursor("renewal") as cursor:  # on the server: the passages may not fit into memory
        cursor.execute(f"SELECT document, number, {COLUMNS} FROM passages ORDER BY document, number")
        for document, rows in groupby(cursor, key=lambda row: int(row[0])):
            own = list(rows)
            passages = passages_from(row[2:] for row in own)
            yield document, {row[1]: passage_terms(passage) for row, passage in zip(own, passages, strict=True)}
