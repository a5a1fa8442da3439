"""Connections to an index in a database: transactions for readers and writers, and errors that say what to do."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from selectors import EVENT_READ, DefaultSelector
from typing import TYPE_CHECKING

from rankrag.errors import DataError, IndexStoreError, MissingExtraError, first_line
from rankrag.retrieval.postgres.address import Database

if TYPE_CHECKING:
    import psycopg
    from psycopg import Connection

_DEFAULTS = {
    "connect_timeout": "10",
    "keepalives_idle": "30",
    "tcp_user_timeout": "60000",  # milliseconds until a server that is silently gone is given up
    "application_name": "rankrag",
}
"""libpq's options where the address gives no others."""

_GONE = {None, "57P01", "57P02", "57P03", "08000", "08003", "08006"}
"""States of a connection that was not made or broke; none at all where libpq itself gave up."""

_SEARCH_PATH = """
    SELECT set_config('search_path', quote_ident(%s) || ', ' || coalesce(min(quote_ident(nspname)), 'public'), false),
        set_config('jit', 'off', false)
    FROM pg_extension JOIN pg_namespace ON pg_namespace.oid = extnamespace WHERE extname = 'vector'
"""


class Connections:
    """Connections to one index. Each transaction has one to itself, so any number of threads may work at once.

    Args:
        database: where the index is.
        lock_timeout: seconds that a writer waits for another one.
    """

    def __init__(self, database: Database, lock_timeout: float) -> None:
        _require_psycopg()
        self.database = database
        self._lock_timeout = lock_timeout
        self._idle: deque[Connection] = deque()
        weakref.finalize(self, _close_all, self._idle)  # a store has no end of its own: it is dropped

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Yield a connection whose queries all see the index as it was at the first of them."""
        import psycopg

        with self._connection() as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            with connection.transaction():
                yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Yield a connection whose changes are committed together at the end, or not at all."""
        with self._connection() as connection:
            connection.isolation_level = connection.read_only = None
            with connection.transaction():
                connection.execute("SELECT set_config('lock_timeout', %s, true)", [f"{self._lock_timeout * 1000:.0f}"])
                yield connection

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        import psycopg

        try:
            connection = self._idle_connection() or self._connect()
            try:
                yield connection
            finally:
                if connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
                    self._idle.append(connection)
                else:  # it broke, or its work was cut off
                    connection.close()
        except psycopg.Error as error:
            raise index_error(self.database, error, self._lock_timeout) from error

    def _idle_connection(self) -> Connection | None:
        """Return a connection that is open, `None` if there is none."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread took the last one
                return None
            if not _has_news(connection):
                return connection
            connection.close()
        return None

    def _connect(self) -> Connection:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict, make_conninfo

        try:
            given = conninfo_to_dict(self.database.url)
        except psycopg.ProgrammingError as error:
            raise IndexStoreError(f"{self.database}: not an address ({first_line(error)})") from error
        connection = psycopg.connect(make_conninfo(self.database.url, **(_DEFAULTS | given)))
        connection.execute(_SEARCH_PATH, [self.database.schema])
        connection.commit()
        return connection


def index_error(database: Database, error: psycopg.Error, lock_timeout: float) -> IndexStoreError | DataError:
    """Return the one error for whatever the database says: what happened, and what to do."""
    from psycopg import errors

    reason = first_line(error).removeprefix("connection failed: ")
    for kinds, text in (
        ((errors.UniqueViolation,), "another document has the same passage id; give every passage an id of its own"),
        ((errors.ProgramLimitExceeded,), "a path, a passage id or a text is too long for the database"),
    ):
        if isinstance(error, kinds):
            return DataError(f"{database}: {text} ({error.diag.message_detail or reason})")
    return IndexStoreError(f"{database}: {_remedy(error, lock_timeout)} ({reason})")


def _remedy(error: psycopg.Error, lock_timeout: float) -> str:
    from psycopg import errors

    if isinstance(error, errors.LockNotAvailable):
        return f"another process is writing to the index (waited {lock_timeout:g} s); try again when it has finished"
    if isinstance(error, errors.InsufficientPrivilege):
        return "this role has not the rights for it; docs/postgresql.md has the GRANT that its owner must run"
    if isinstance(error, errors.DeadlockDetected | errors.SerializationFailure):
        return "another process was writing at the same time; run the same command again"
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return "the server takes no changes; write to the primary server"
    if isinstance(error, errors.UndefinedTable | errors.UndefinedColumn):
        return "the index was taken away or is damaged; make it again with rankrag index"
    if error.sqlstate is None and "password" in str(error):
        return "no connection; set PGPASSWORD, or write the password to ~/.pgpass"
    if isinstance(error, errors.OperationalError | errors.InterfaceError) and error.sqlstate in _GONE:
        return "the database cannot be reached or went away; what was committed is safe, run the same command again"
    return "the database refused; see its log"


def _has_news(connection: Connection) -> bool:
    """Whether the server has said something to a connection that asked nothing: that it shuts down, most likely."""
    with DefaultSelector() as selector:
        selector.register(connection.fileno(), EVENT_READ)
        return bool(selector.select(0))


def _close_all(connections: Iterable[Connection]) -> None:
    for connection in connections:
        connection.close()


def _require_psycopg() -> None:
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        reason = first_line(error)
        raise MissingExtraError(
            f"an index in PostgreSQL needs psycopg ({reason}): pip install 'rankrag[postgres]'"
        ) from None
