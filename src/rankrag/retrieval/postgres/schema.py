"""The tables of an index in a database, and how an older index becomes one of today."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rankrag.errors import IndexStoreError
from rankrag.retrieval.postgres.address import Database
from rankrag.retrieval.postgres.renewal import renew_terms

if TYPE_CHECKING:
    from psycopg import Connection

STEPS = (
    """
    CREATE TABLE state (
        format int NOT NULL, version bigint NOT NULL, passages bigint NOT NULL, terms bigint NOT NULL,
        encoder text, similarity text
    );
    INSERT INTO state VALUES (0, 0, 0, 0);
    CREATE TABLE documents (
        number int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, path text COLLATE "C" NOT NULL UNIQUE,
        sha256 text NOT NULL, notes text
    );
    CREATE SEQUENCE passage_numbers AS int;
    CREATE TABLE passages (
        number int PRIMARY KEY, id text COLLATE "C" NOT NULL UNIQUE,
        document int NOT NULL REFERENCES documents, key text COLLATE "C" NOT NULL, terms int NOT NULL,
        text text NOT NULL, title text NOT NULL, path text, heading text, page bigint, start bigint, "end" bigint
    );
    CREATE INDEX ON passages (document);
    CREATE INDEX ON passages (key);
    CREATE TABLE postings (
        term text COLLATE "C", document int, data bytea NOT NULL, PRIMARY KEY (term, document)
    );
    CREATE INDEX ON postings (document);
    """,
    renew_terms,
)
"""Step N turns an index of format N into one of format N + 1; the first makes a new one. Format 1 had no fields.

Whenever passages get other BM25 terms, `renew_terms` is appended.

`state` has one row: the statistics of BM25, and a version that every commit raises. `postings.data` is that of one
document (`postings.POSTING`), so that taking a document out touches no other's rows.
"""

VECTORS = 'CREATE TABLE vectors (key text COLLATE "C" PRIMARY KEY, vector halfvec NOT NULL)'

PGVECTOR = (0, 8)
"""The oldest version that can be used: halfvec, and scans that go on until enough rows are found."""


def check_format(connection: Connection, database: Database) -> None:
    """Raise `IndexStoreError` if the schema holds no index, or one of another format."""
    found = found_format(connection, database)
    if found is None:
        raise IndexStoreError(f"{database}: no index there; make one with: rankrag index DOCUMENTS --index {database}")
    _refuse_newer(database, found)
    if found < len(STEPS):
        raise IndexStoreError(
            f"{database}: the index has format {found}, this rankrag reads format {len(STEPS)}; its owner brings it "
            f"up to date with: rankrag index DOCUMENTS --index {database}"
        )


def migrate(connection: Connection, database: Database) -> None:
    """Make the tables that are missing, in the transaction that is open; an older index keeps all that it holds.

    Roles that may write, but own nothing, come here too: an index that is up to date needs no right to make tables.
    """
    from psycopg.sql import SQL, Identifier

    found = found_format(connection, database)
    if found is None:
        strangers = connection.execute(_TABLES, [database.schema]).fetchone()
        if strangers is not None:
            raise IndexStoreError(f"{database}: not an index, the schema holds {strangers[0]}; choose another name")
        if not connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [database.schema]).fetchone():
            connection.execute(SQL("CREATE SCHEMA {}").format(Identifier(database.schema)))
    _refuse_newer(database, found or 0)
    for step in STEPS[found or 0 :]:
        if isinstance(step, str):
            connection.execute(step)
        else:
            step(connection)
    if found != len(STEPS):
        connection.execute("UPDATE state SET format = %s, version = version + 1", [len(STEPS)])


_TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY tablename LIMIT 1"


def found_format(connection: Connection, database: Database) -> int | None:
    """Return the format of the index in the schema, `None` if there is no index."""
    from psycopg.sql import SQL, Identifier

    if not _has_table(connection, database, "state"):
        return None
    row = connection.execute(SQL("SELECT format FROM {}.state").format(Identifier(database.schema))).fetchone()
    return row[0] if row else None


def _has_table(connection: Connection, database: Database, name: str) -> bool:
    query = "SELECT to_regclass(quote_ident(%s) || '.' || quote_ident(%s)) IS NOT NULL"
    row = connection.execute(query, [database.schema, name]).fetchone()
    return bool(row and row[0])


def _refuse_newer(database: Database, found: int) -> None:
    if found > len(STEPS):
        raise IndexStoreError(
            f"{database}: the index has format {found}, this rankrag reads formats up to {len(STEPS)}; "
            "upgrade rankrag: pip install --upgrade rankrag"
        )


def why_no_vectors(connection: Connection, database: Database) -> str:
    """Return why the index can hold no vectors, in a line that says what to do; empty if it can."""
    if _has_table(connection, database, "vectors"):
        return ""
    found = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
    if found is None:
        return f"{database}: the database has no pgvector, so BM25 alone is used; {_REMEDY}"
    if _version(found[0]) < PGVECTOR:
        return f"{database}: pgvector {found[0]} is older than 0.8, so BM25 alone is used; {_REMEDY}"
    return f"{database}: the index was made before pgvector came, so BM25 alone is used; its owner runs rankrag index"


_REMEDY = "an administrator runs CREATE EXTENSION vector (docs/postgresql.md)"


def make_vectors(connection: Connection, database: Database) -> None:
    """Make the table of vectors if the database has pgvector and this role may; without it BM25 works all the same."""
    from psycopg import Error

    if _has_table(connection, database, "vectors"):
        return
    try:
        with connection.transaction():
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector SCHEMA public")
    except Error:  # the server has none, or this role may not make it: `why_no_vectors` says so
        return
    found = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'vector'").fetchone()
    if found is not None and _version(found[0]) >= PGVECTOR:
        connection.execute(VECTORS)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdigit())
