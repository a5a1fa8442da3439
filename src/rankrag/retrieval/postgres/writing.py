"""Documents into the tables of an index in a database, and out of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from struct import pack
from typing import TYPE_CHECKING

from rankrag.documents.parts import SourcePassages
from rankrag.retrieval.postgres.connections import Connections
from rankrag.retrieval.postgres.postings import postings_of
from rankrag.retrieval.postgres.retrievers import COLUMNS, storable
from rankrag.retrieval.rows import PASSAGE_COLUMNS, clash, notes_to_json, owners_of, row_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from psycopg import Connection

Row = dict[str, str | int | None]


def put_documents(connections: Connections, batch: Sequence[SourcePassages]) -> None:
    """Replace all passages of these documents by the ones given, in one transaction.

    Of two writers of one document, the second waits at its row until the first has committed.
    """
    owners = owners_of(batch)
    rows = {document.path: [row_of(document, passage) for passage in document.passages] for document in batch}
    if not batch:
        return
    with connections.writing() as connection:
        emptied = connection.execute(_LOCKED, [[path for path, own in rows.items() if not own]]).fetchall()
        numbers = dict(connection.execute(_ADD_DOCUMENTS, _columns([d for d in batch if d.passages])).fetchall())
        gone, lost = delete_passages(connection, [*numbers.values(), *(number for (number,) in emptied)])
        clashes = connection.execute(_OWNERS, [list(owners)]).fetchone()
        if clashes is not None:
            raise clash(clashes[0], clashes[1], owners[clashes[0]])
        terms = _add_passages(connection, {numbers[path]: own for path, own in rows.items() if own})
        delete_empty(connection, emptied)
        touch(connection, passages=len(owners) - gone, terms=terms - lost)


_LOCKED = "SELECT number FROM documents WHERE path = ANY(%s) ORDER BY number FOR UPDATE"
_ADD_DOCUMENTS = """
    INSERT INTO documents (path, sha256, notes)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[]) AS given(path, sha256, notes) ORDER BY given.path
    ON CONFLICT (path) DO UPDATE SET sha256 = excluded.sha256, notes = excluded.notes RETURNING path, number
"""
_OWNERS = """
    SELECT id, documents.path FROM passages JOIN documents ON documents.number = document WHERE id = ANY(%s) LIMIT 1
"""


def _columns(documents: Sequence[SourcePassages]) -> list[list[str | None]]:
    return [
        [document.path for document in documents],
        [document.sha256 for document in documents],
        [notes_to_json(document.notes) for document in documents],
    ]


def delete_passages(connection: Connection, documents: Sequence[int]) -> tuple[int, int]:
    """Delete the passages of documents; return their number and the number of terms in them."""
    connection.execute("DELETE FROM postings WHERE document = ANY(%s)", [list(documents)])
    query = """
        WITH gone AS (DELETE FROM passages WHERE document = ANY(%s) RETURNING terms)
        SELECT count(*), coalesce(sum(terms), 0)::bigint FROM gone
    """
    passages, terms = connection.execute(query, [list(documents)]).fetchone() or (0, 0)
    return passages, terms


def delete_empty(connection: Connection, documents: Sequence[tuple[int]]) -> None:
    """Delete documents whose passages are gone."""
    connection.execute("DELETE FROM documents WHERE number = ANY(%s)", [[number for (number,) in documents]])


def _add_passages(connection: Connection, rows: Mapping[int, Sequence[Row]]) -> int:
    """Add passages, by document, and their postings; return the number of terms in them."""
    count = sum(map(len, rows.values()))
    query = "SELECT nextval('passage_numbers')::int FROM generate_series(1, %s)"
    fresh = iter([number for (number,) in connection.execute(query, [count]).fetchall()])
    terms = {document: {next(fresh): str(row["terms"]).split() for row in own} for document, own in rows.items()}
    copying = f"COPY passages (document, number, terms, key, {COLUMNS}) FROM STDIN"
    with connection.cursor() as cursor, cursor.copy(copying) as copy:
        for document, own in rows.items():
            for (number, words), row in zip(terms[document].items(), own, strict=True):
                values = (row[name] for name in PASSAGE_COLUMNS)
                texts = (storable(value) if isinstance(value, str) else value for value in values)
                copy.write_row((document, number, len(words), row["key"], *texts))
    add_postings(connection, terms)
    return sum(len(words) for own in terms.values() for words in own.values())


def add_postings(connection: Connection, terms: Mapping[int, Mapping[int, Sequence[str]]]) -> None:
    """Add the postings of documents; `terms` are those of their passages, by document and passage number."""
    with connection.cursor() as cursor, cursor.copy("COPY postings FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["text", "int4", "bytea"])
        for posting in sorted(_postings(terms)):  # in the order of their index, which is then written once
            copy.write_row(posting)


def _postings(terms: Mapping[int, Mapping[int, Sequence[str]]]) -> Iterator[tuple[str, int, bytes]]:
    for document, own in terms.items():
        for term, data in postings_of(own):
            yield term, document, data


def add_vectors(connection: Connection, keys: Sequence[str], vectors: npt.NDArray[np.float32]) -> None:
    """Add vectors by the keys of their texts; a key that is there already keeps its vector."""
    halves = vectors.astype(">f2")
    head = pack(">HH", halves.shape[1], 0)  # pgvector's binary form of a halfvec
    connection.execute("CREATE TEMPORARY TABLE fresh (LIKE vectors) ON COMMIT DROP")
    with connection.cursor() as cursor, cursor.copy("COPY fresh FROM STDIN (FORMAT binary)") as copy:
        copy.set_types(["text", "bytea"])
        for key, vector in zip(keys, halves, strict=True):
            copy.write_row((key, head + vector.tobytes()))
    connection.execute("INSERT INTO vectors SELECT * FROM fresh ORDER BY key ON CONFLICT DO NOTHING")


def touch(connection: Connection, *, passages: int = 0, terms: int = 0) -> None:
    """Raise the index's version and change its statistics: at the end, for other writers wait here for the commit."""
    query = "UPDATE state SET version = version + 1, passages = passages + %s, terms = terms + %s"
    connection.execute(query, [passages, terms])
