"""The address of an index in a database: `postgresql://[USER@]HOST[:PORT]/DATABASE[/INDEX][?libpq options]`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from rankrag.errors import ConfigError

SCHEMES = ("postgresql://", "postgres://")
DEFAULT_NAME = "rankrag"

_NAME_BYTES = 63
"""PostgreSQL cuts longer names silently, so that two of them may become one."""

_SECRETS = ("password", "sslpassword", "oauth_client_secret")


@dataclass(frozen=True, slots=True)
class Database:
    """An index in a database: what libpq connects to, and the schema that holds the index.

    Neither has a password: those come from `PGPASSWORD`, `~/.pgpass` or a service file.
    """

    url: str
    schema: str
    shown: str

    def __str__(self) -> str:
        return self.shown


def is_database(place: Path | str) -> bool:
    """Whether an index is named by a database's address and not by a folder."""
    return isinstance(place, str) and place.startswith(SCHEMES)


def parse_database(address: str) -> Database:
    """Return the database and the schema that an address names; `ConfigError` for one that holds a password.

    The index's name is the path's second part, `rankrag` by default. Odd characters are percent-encoded.
    """
    shown = without_secrets(address)
    if shown != address:
        raise ConfigError(
            f"{shown}: other users of this machine can read a password in an argument; leave it out, and set "
            "PGPASSWORD or write it to ~/.pgpass"
        )
    try:
        parts = urlsplit(address)
        database, _, name = parts.path.strip("/").partition("/")
        schema = unquote(name, errors="strict") or DEFAULT_NAME
    except ValueError as error:
        raise ConfigError(f"{address}: not an address ({error}); docs/postgresql.md has its form") from error
    if not database:
        raise ConfigError(f"{address}: it names no database; write postgresql://HOST/DATABASE or …/DATABASE/INDEX")
    if "/" in schema or "\0" in schema or schema.startswith("pg_") or len(schema.encode()) > _NAME_BYTES:
        raise ConfigError(
            f"{address}: {schema!r} cannot name an index; it has no '/', begins with no 'pg_', and is at most "
            f"{_NAME_BYTES} bytes long"
        )
    query = f"?{parts.query}" if parts.query else ""
    url = f"postgresql://{parts.netloc}/{database}"
    return Database(url + query, schema, f"{url}/{quote(schema, safe='')}{query}")


def without_secrets(address: str) -> str:
    """Return an address with `***` for each password in it; one without any comes back as it is.

    An "@" after a ":" is taken for the end of a password, wherever it is: that hides too much rather than too little.
    """
    hidden = re.sub(r"(://[^/?#@:]*:).+(?=@)", r"\1***", address)
    place, mark, query = hidden.partition("?")
    return place + mark + "&".join(_hidden(*pair.partition("=")) for pair in query.split("&"))


def _hidden(name: str, sign: str, value: str) -> str:
    return name + sign + ("***" if value and unquote(name).lower() in _SECRETS else value)
