from __future__ import annotations

from pathlib import Path

import pytest

from rankrag.errors import ConfigError, IndexStoreError
from rankrag.retrieval.homes import open_store
from rankrag.retrieval.postgres.address import is_database, parse_database, without_secrets


@pytest.mark.parametrize(
    ("address", "url", "schema"),
    [
        ("postgresql://host/db", "postgresql://host/db", "rankrag"),
        ("postgres://me@host:5433/db/notes", "postgresql://me@host:5433/db", "notes"),
        ("postgresql:///db/notes?host=/tmp", "postgresql:///db?host=/tmp", "notes"),
        ("postgresql://a,b:5433/my%20db/B%C3%BCcher%20%22x%22", "postgresql://a,b:5433/my%20db", 'Bücher "x"'),
    ],
)
def test_the_index_is_the_second_part_of_the_path(address, url, schema):
    found = parse_database(address)
    assert (found.url, found.schema) == (url, schema)
    assert parse_database(str(found)) == found


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:s3cret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:s3cret@twice@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:s3c?r/s3cret@host/db", "postgresql://me:***@host/db"),
        ("postgresql://host/db?user=me&password=s3cret&port=1", "postgresql://host/db?user=me&password=***&port=1"),
        ("postgresql://host/db?PASSWORD=s3cret", "postgresql://host/db?PASSWORD=***"),
        ("postgresql://host/db?pass%77ord=s3cret", "postgresql://host/db?pass%77ord=***"),
        ("postgresql://host/db?sslpassword=s3cret", "postgresql://host/db?sslpassword=***"),
    ],
)
def test_a_password_in_an_address_is_refused_and_never_repeated(address, shown):
    for opens in (parse_database, open_store):
        with pytest.raises(ConfigError, match="PGPASSWORD") as caught:
            opens(address)
        assert str(caught.value).startswith(f"{shown}: ")
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("address", ["postgresql://me@host/db", "postgresql://me:@host:1/db?passfile=/x", "folder"])
def test_an_address_without_a_password_stays_as_it_is(address):
    assert without_secrets(address) == address


@pytest.mark.parametrize("name", ["pg_x", "a/b", "ü" * 32, "%00"])
def test_a_name_that_the_database_would_not_keep_is_refused(name):
    with pytest.raises(ConfigError, match="cannot name an index"):
        parse_database(f"postgresql://host/db/{name}")


@pytest.mark.parametrize(
    "address", ["postgresql://host", "postgresql://host/", "postgresql://ho[st/db", "postgres:///"]
)
def test_an_address_that_is_none_is_explained(address):
    with pytest.raises(ConfigError, match=r"not an address|names no database"):
        parse_database(address)


def test_an_option_that_libpq_does_not_know_is_explained():
    with pytest.raises(IndexStoreError, match=r"not an address .*nonsense"):
        open_store("postgresql://host/db?nonsense=1")


def test_folders_are_no_databases():
    assert not any(map(is_database, ("rankrag.index", Path("postgresql://x/y"), "/postgresql://x")))
