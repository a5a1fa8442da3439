from __future__ import annotations

import importlib
import sys

import pytest

from rankrag.errors import IndexStoreError, MissingExtraError
from rankrag.retrieval.s3.address import parse_bucket


@pytest.fixture
def bucket(s3):
    from rankrag.retrieval.s3.bucket import Bucket

    return Bucket(parse_bucket("s3://team/objects/ü 1"))


def test_an_object_is_swapped_only_for_who_has_seen_it(bucket):
    from rankrag.retrieval.s3.bucket import SwapError

    bucket.swap("pointer", b"1", etag=None)
    data, etag = bucket.get("pointer")
    assert data == b"1"
    bucket.swap("pointer", b"2", etag=etag)
    for seen in (None, etag):
        with pytest.raises(SwapError):
            bucket.swap("pointer", b"3", etag=seen)
    assert bucket.get("pointer")[0] == b"2"


def test_a_large_file_arrives_whole_or_not_at_all(bucket, tmp_path):
    from rankrag.data.files import sha256

    file = tmp_path / "file"
    file.write_bytes(bytes(range(256)) * 30_000)  # 7.3 MiB, which are sent in parts
    bucket.upload(file, "large")
    bucket.download("large", tmp_path / "new" / "copy", sha256(file))
    assert (tmp_path / "new" / "copy").read_bytes() == file.read_bytes()
    with pytest.raises(IndexStoreError, match="the object is damaged"):
        bucket.download("large", tmp_path / "new" / "other", "0" * 64)
    assert not (tmp_path / "new" / "other").exists()


def test_a_missing_file_of_this_machine_is_no_missing_object(bucket, tmp_path):
    bucket.put("there", b"1")
    (tmp_path / "folder.partial").mkdir()
    with pytest.raises(OSError, match="directory"):
        bucket.download("there", tmp_path / "folder", "")


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("403: <Code>RequestTimeTooSkewed</Code>", r"the clock of this machine is wrong .*\(RequestTimeTooSkewed\)"),
        ("403: <Code>ExpiredToken</Code>", "no valid keys; set AWS_ACCESS_KEY_ID"),
        ("Error performing PUT http://169.254.169.254/latest/api/token", "no valid keys; set AWS_ACCESS_KEY_ID"),
        ("403: <Code>AccessDenied</Code>", "these keys have no right to list; docs/object-storage.md"),
        ("503: <Code>SlowDown</Code>", "the bucket cannot be reached; what was published is safe"),
        ("Error performing GET x - HTTP error: error sending request", r"cannot be reached.*\(HTTP error: error sendi"),
        ("501: <Code>NotImplemented</Code>", r"the server refused; see its log \(NotImplemented\)"),
    ],
)
def test_what_a_server_says_is_explained(bucket, monkeypatch, said, what):
    import obstore
    from obstore.exceptions import GenericError

    def fail(*_):
        raise GenericError(said)

    monkeypatch.setattr(obstore, "list", fail)
    with pytest.raises(IndexStoreError, match=f"^s3://team/objects/ü 1: .*{what}"):
        bucket.keys("files")


def test_a_missing_library_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.delitem(sys.modules, "rankrag.retrieval.s3.bucket", raising=False)
    with pytest.raises(MissingExtraError, match=r"needs obstore .*pip install 'rankrag\[s3\]'"):
        importlib.import_module("rankrag.retrieval.s3.bucket")
