"""Buckets that refuse, go away or hold damage, and processes that are killed: one clear error, and nothing lost."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from rankrag.errors import IndexStoreError
from rankrag.retrieval.homes import create_store, folder_beside, open_store
from rankrag.retrieval.store import PassageStore
from tests.s3_server import READER, SECRET, S3Server

pytest.importorskip("obstore")

from rankrag.retrieval.s3 import replica, versions
from rankrag.retrieval.s3.bucket import Bucket
from rankrag.retrieval.s3.versions import CURRENT, read_head, read_version


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """Become another machine: its snapshots are its own."""
    return lambda name: monkeypatch.setenv("RANKRAG_CACHE", str(tmp_path / name))


@pytest.fixture
def own_s3(s3, monkeypatch):
    """A server that a test may stop."""
    server = S3Server()
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    yield server
    server.close()


@pytest.fixture(autouse=True)
def nothing_was_said(monkeypatch):
    monkeypatch.setattr(replica, "_said", set())


def in_a_process(code: str, *arguments: str) -> subprocess.Popen[str]:
    """Begin a process that works on an index; it prints a line when it is where it may be killed.

    It does what `open_store` and `put` do beside the engine, whose import takes longer than all the rest.
    """
    head = """
import sys, time
from pathlib import Path
from rankrag.retrieval.s3.address import parse_bucket
from rankrag.retrieval.s3.bucket import Bucket
from rankrag.retrieval.s3.snapshots import Snapshots, cache_of
from rankrag.retrieval.s3.versions import files_in, publish_version, read_head, read_version
place = parse_bucket(sys.argv[1])
begun, done = [], []
def third_never_ends(work):
    def counted(*told):
        begun.append(told)
        if len(begun) == 3:
            while len(done) < 2:
                time.sleep(0.01)
            print("here", flush=True)
            time.sleep(60)
        work(*told)
        done.append(told)
    return counted
"""
    return subprocess.Popen([sys.executable, "-c", head + code, *arguments], stdout=subprocess.PIPE, text=True)


def kill_when_it_is_there(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


def test_a_writer_killed_in_the_middle_of_an_upload_leaves_the_version_before(
    s3_store, s3_address, document_of, tmp_path
):
    s3_store.put([document_of("a", "cat")])
    changed = tmp_path / "changed"
    shutil.copytree(folder_beside(s3_address) / "versions" / s3_store.version(), changed)
    PassageStore.open(changed).put([document_of("b", "dog")])
    before, keys = read_head(s3_store._replica.bucket), set(s3_store._replica.bucket.keys("files"))
    kill_when_it_is_there(
        in_a_process(
            """
Bucket.upload = third_never_ends(Bucket.upload)
bucket = Bucket(place)
head, folder = read_head(bucket), Path(sys.argv[2])
publish_version(bucket, head, folder, files_in(folder, None, read_version(bucket, head.names[0])))
""",
            s3_address,
            str(changed),
        )
    )
    half = set(s3_store._replica.bucket.keys("files")) - keys
    assert len(half) >= 2
    assert read_head(s3_store._replica.bucket) == before
    assert len(open_store(s3_address)) == 1
    s3_store.put([document_of("b", "dog")])
    assert len(open_store(s3_address)) == 2
    s3_store.refresh()
    assert half.isdisjoint(s3_store._replica.bucket.keys("files"))


def test_a_reader_killed_in_the_middle_of_a_move_loses_nothing(
    s3_store, s3_address, elsewhere, document_of, monkeypatch
):
    s3_store.put([document_of("a", "cat")])
    elsewhere("another machine")
    before = open_store(s3_address).version()
    elsewhere("cache")
    s3_store.put([document_of("b", "dog")])
    s3_store.refresh()
    elsewhere("another machine")
    moving = in_a_process(
        """
Bucket.download = third_never_ends(Bucket.download)
snapshots, bucket = Snapshots(cache_of(place)), Bucket(place)
with snapshots.moving():
    snapshots.fetch(bucket, read_head(bucket).names[0])
""",
        s3_address,
    )
    kill_when_it_is_there(moving)
    folder = folder_beside(s3_address)
    assert [one.name for one in (folder / "versions").iterdir()] == [before]
    assert (folder / "newest").read_text() == before
    fetched = {file.name for file in (folder / "moving" / "files").iterdir() if file.suffix != ".partial"}
    assert len(fetched) >= 2
    again = []
    download = Bucket.download
    monkeypatch.setattr(Bucket, "download", lambda *told: (again.append(told[3]), download(*told)))
    reader = open_store(s3_address)
    assert (len(reader), reader.version()) == (2, s3_store.version())
    assert again
    assert fetched.isdisjoint(again)
    assert list((folder / "moving").iterdir()) == []


def test_a_bucket_out_of_reach_leaves_the_newest_snapshot_and_says_so_once(own_s3, document_of, caplog, ids_of):
    address = "s3://team/offline"
    store = create_store(address)
    store.put([document_of("a", "cat")])
    own_s3.stop()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            reader = open_store(address)
            assert ids_of(reader.lexical().retrieve(["cat"], 1)[0]) == ["a#0"]
        assert store.version() == reader.version()
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"{address}: the bucket cannot be reached; ")
    assert said.endswith("; version 2 on this disk goes on answering")
    with pytest.raises(IndexStoreError, match="the bucket cannot be reached; what was published is safe"):
        store.put([document_of("a", "dog")])
    with pytest.raises(IndexStoreError, match="the bucket cannot be reached"):
        open_store("s3://team/never-seen")
    own_s3.start()
    store.put([document_of("a", "dog")])
    assert len(open_store(address)) == 1


def test_a_user_who_may_only_read_reads_and_is_told_why_not_to_write(
    s3_store, s3_address, document_of, monkeypatch, elsewhere
):
    s3_store.put([document_of("a", "cat")])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER)
    elsewhere("another machine")
    for opens in (open_store, create_store):
        assert len(opens(s3_address)) == 1
    refused = r"these keys have no right to write; docs/object-storage\.md has the policy .*\(AccessDenied\)"
    with pytest.raises(IndexStoreError, match=refused):
        open_store(s3_address).put([document_of("b", "dog")])
    with pytest.raises(IndexStoreError, match=refused):
        create_store(f"{s3_address} new")
    assert len(open_store(s3_address)) == 1


@pytest.mark.parametrize("variable", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_wrong_keys_are_explained_and_never_shown(s3_address, s3, monkeypatch, variable, caplog):
    monkeypatch.setenv(variable, "no-such-s3cret")
    with pytest.raises(IndexStoreError, match="no valid keys; set AWS_ACCESS_KEY_ID and") as caught:
        open_store(s3_address)
    assert not any(secret in f"{caught.value}{caplog.text}" for secret in ("no-such-s3cret", SECRET))


def test_a_missing_bucket_and_a_missing_index_are_named(s3):
    with pytest.raises(IndexStoreError, match=r"^s3://team/none: no index there; make one with: rankrag index"):
        open_store("s3://team/none")
    for opens in (open_store, create_store):
        with pytest.raises(IndexStoreError, match=r"^s3://other/none: (there is no such bucket|these keys have no)"):
            opens("s3://other/none")


def test_a_damaged_object_is_named_and_who_has_a_snapshot_goes_on(s3_store, s3_address, elsewhere, document_of, caplog):
    s3_store.put([document_of("a", "cat")])
    elsewhere("another machine")
    reader = open_store(s3_address)
    seen = reader.version()
    elsewhere("cache")
    s3_store.put([document_of("b", "dog")])
    file = max(read_version(s3_store._replica.bucket, s3_store.version()), key=lambda file: file.key)
    s3_store._replica.bucket.put(file.key, b"x" * file.size)
    elsewhere("another machine")
    damaged = f"{s3_address}/{file.key}: the object is damaged"
    with pytest.raises(IndexStoreError, match=f"^{damaged}"):
        open_store(s3_address)
    assert reader.version() == reader.version() == seen
    assert len(reader) == 1
    assert caplog.text.count(damaged) == 1
    s3_store._replica.bucket.delete([file.key])
    with pytest.raises(IndexStoreError, match=f"^{s3_address}/{file.key}: the object is not there"):
        open_store(s3_address)


@pytest.mark.parametrize("data", [b"", b"{}", b'{"format": 1, "versions": []}', b'{"format": 1, "versions": ["x"]}'])
def test_a_damaged_pointer_is_named(s3_store, s3_address, data):
    s3_store._replica.bucket.put(CURRENT, data)
    with pytest.raises(IndexStoreError, match=rf"^{s3_address}/CURRENT: damaged, or not an index of rankrag"):
        open_store(s3_address)


def test_a_list_of_files_that_was_changed_is_not_believed(s3_store, s3_address, elsewhere):
    name = s3_store.version()
    s3_store._replica.bucket.put(f"versions/{name}.json", b"[]")
    elsewhere("another machine")
    with pytest.raises(IndexStoreError, match=rf"^{s3_address}/versions/{name}\.json: the object is damaged"):
        open_store(s3_address)


def test_an_index_of_a_newer_rankrag_is_left_alone(s3_store, s3_address):
    current = {"format": 2, "versions": [s3_store.version()]}
    s3_store._replica.bucket.put(CURRENT, json.dumps(current).encode())
    for opens in (open_store, create_store):
        with pytest.raises(IndexStoreError, match="format 2, this rankrag reads format 1; upgrade rankrag"):
            opens(s3_address)


def test_a_reader_that_is_overtaken_goes_on_with_the_newest_version(
    s3_store, s3_address, elsewhere, document_of, monkeypatch
):
    s3_store.put([document_of("a", "cat")])
    elsewhere("another machine")
    download, told_of = Bucket.download, []

    def slow(bucket, key, path, sha256):
        if not told_of:
            told_of.append(key)
            for turn in range(versions.KEPT + 1):
                s3_store.put([document_of("a", f"dog {turn}")])
            s3_store.refresh()
        download(bucket, key, path, sha256)

    monkeypatch.setattr(Bucket, "download", slow)
    monkeypatch.setattr(versions, "AT_ONCE", 1)
    reader = open_store(s3_address)
    assert reader.version() == s3_store.version()
    assert [passage.text for passage in reader.passages()] == [f"dog {versions.KEPT}"]


def test_no_clock_counts(s3_store, s3_address, document_of, monkeypatch, elsewhere):
    s3_store.put([document_of("a", "cat")])
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 10_000_000)
    s3_store.put([document_of("b", "dog")])
    s3_store.refresh()
    for folder in (folder_beside(s3_address) / "versions").iterdir():
        os.utime(folder, (0, 0))
    elsewhere("another machine")
    assert len(open_store(s3_address)) == 2


@pytest.mark.parametrize("ignored", ["If-None-Match", "If-Match"])
def test_a_server_without_conditional_writes_is_refused(s3, s3_address, monkeypatch, ignored):
    swap = Bucket.swap

    def careless(bucket, key, data, etag):
        if (etag is None) == (ignored == "If-None-Match"):
            bucket.put(key, data)
        else:
            swap(bucket, key, data, etag=etag)

    monkeypatch.setattr(Bucket, "swap", careless)
    with pytest.raises(IndexStoreError, match=f"the server ignores {ignored}, so that two writers could"):
        create_store(s3_address)
    with pytest.raises(IndexStoreError, match="no index there"):
        open_store(s3_address)


def test_an_index_that_was_taken_away_is_not_made_again_with_a_part_of_it(s3_store, s3_address, document_of):
    s3_store.put([document_of("a", "cat")])
    s3_store._replica.bucket.delete([versions.CURRENT])
    assert len(s3_store) == 1
    with pytest.raises(IndexStoreError, match=f"^{s3_address}: the index was taken away; make it again with"):
        s3_store.put([document_of("b", "dog")])


def test_a_swap_whose_reply_was_lost_counts(s3_store, s3_address, document_of, monkeypatch):
    swap = Bucket.swap

    def lost(bucket, key, data, etag):
        swap(bucket, key, data, etag=etag)
        swap(bucket, key, data, etag=etag)  # the client sends it again, and is refused

    monkeypatch.setattr(Bucket, "swap", lost)
    s3_store.put([document_of("a", "cat")])
    assert read_head(s3_store._replica.bucket).number == 2
    assert len(s3_store) == 1


def test_a_cache_that_cannot_be_written_is_named(s3_store, s3_address, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RANKRAG_CACHE", str(tmp_path / "file"))
    with pytest.raises(IndexStoreError, match=r"cannot be written .*RANKRAG_CACHE"):
        open_store(s3_address)
