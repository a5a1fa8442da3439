from __future__ import annotations

from pathlib import Path

import pytest

from rankrag.errors import ConfigError
from rankrag.retrieval.homes import open_store
from rankrag.retrieval.places import checked_place, is_remote, own_name
from rankrag.retrieval.s3.address import is_bucket, parse_bucket


@pytest.mark.parametrize(
    ("address", "bucket", "prefix", "name"),
    [
        ("s3://team/handbook", "team", "handbook", "handbook"),
        ("s3://team.example/a/b/notes/", "team.example", "a/b/notes", "notes"),
        ("s3://team/Bücher 1", "team", "Bücher 1", "Bücher 1"),
    ],
)
def test_an_address_names_a_bucket_and_an_index(address, bucket, prefix, name):
    place = parse_bucket(address)
    assert (place.bucket, place.prefix, place.name) == (bucket, prefix, name)
    assert parse_bucket(str(place)) == place
    assert own_name(address) == name


@pytest.mark.parametrize("address", ["s3://KEY:s3cret@team/x", "s3://team/s3cret@x", "s3://team/x?secret=s3cret"])
def test_a_secret_in_an_address_is_refused_and_never_repeated(address):
    for opens in (parse_bucket, open_store, checked_place):
        with pytest.raises(ConfigError, match="keys come from AWS_ACCESS_KEY_ID") as caught:
            opens(address)
        assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("s3://", "'' cannot name a bucket"),
        ("s3://Team/x", "'Team' cannot name a bucket"),
        ("s3://team", "it names no index"),
        ("s3://team//", "it names no index"),
        ("s3://team/a//b", "'' cannot be part of a name"),
        ("s3://team/a/../b", "'..' cannot be part of a name"),
        ("s3://team/a%20b", "'a%20b' cannot be part of a name"),
    ],
)
def test_an_address_that_is_none_is_explained(address, why):
    with pytest.raises(ConfigError, match=why):
        parse_bucket(address)


def test_folders_are_no_buckets():
    assert not any(map(is_bucket, ("rankrag.index", Path("s3://x/y"), "/s3://x")))
    assert [is_remote(place) for place in ("s3://x/y", "postgresql://h/d", "x")] == [True, True, False]
    assert checked_place("x/../y") == "x/../y"
