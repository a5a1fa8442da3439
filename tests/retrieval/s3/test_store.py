from __future__ import annotations

import gc
import json
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rankrag.errors import IndexStoreError
from rankrag.opening import STATES, open_retriever
from rankrag.retrieval.homes import create_store, folder_beside, open_store
from rankrag.retrieval.store import PassageStore

pytest.importorskip("obstore")

from rankrag.retrieval.s3 import replica
from rankrag.retrieval.s3 import store as module
from rankrag.retrieval.s3.versions import CURRENT, FORMAT, KEPT, read_head, read_version

WORDS = [f"word{i}" for i in range(30)]


@pytest.fixture
def elsewhere(monkeypatch, tmp_path):
    """Become another machine, or come back to one: its snapshots are its own."""

    def become(name):
        monkeypatch.setenv("RANKRAG_CACHE", str(tmp_path / name))

    return become


def keys_of(s3, address):
    import obstore

    prefix = address.removeprefix("s3://team/")
    listed = [found["path"] for batch in obstore.list(s3.store(), prefix) for found in batch]
    return sorted(key.removeprefix(f"{prefix}/") for key in listed)


def snapshots_of(address):
    return sorted(folder.name for folder in (folder_beside(address) / "versions").iterdir())


def test_it_finds_what_the_folder_finds(s3_store, s3_address, folder_store, elsewhere, document_of, encoder, ids_of):
    rng = random.Random(5)
    documents = [document_of(f"d{i}", *[" ".join(rng.choices(WORDS, k=9)) for _ in range(60)]) for i in range(4)]
    for store in (folder_store, s3_store):
        store.put(documents)
        store.put([document_of("d1", "word1 word2"), document_of("late", "word3")])
        store.remove("d2")
        store.refresh()
        store.fill_vectors(encoder)
    elsewhere("another machine")
    read = open_store(s3_address)
    queries = [" ".join(rng.sample(WORDS, 3)) for _ in range(20)]
    for search in ("lexical", "dense", "hybrid"):
        by = () if search == "lexical" else (encoder,)
        found = [getattr(store, search)(*by).retrieve(queries, 100) for store in (folder_store, read)]
        assert found[0] == found[1]
        assert min(map(len, found[0])) > 20
    passages = read.passages()
    vectors = [store.vectors_of(encoder, passages) for store in (folder_store, read)]
    assert vectors[0].keys() == vectors[1].keys()
    assert all((vectors[0][text] == vectors[1][text]).all() for text in vectors[0])


def test_only_new_files_are_uploaded_and_fetched(s3, s3_store, s3_address, elsewhere, document_of, monkeypatch):
    s3_store.put([document_of("a", "cat")])
    s3_store.refresh()
    elsewhere("another machine")
    reader = open_store(s3_address)
    before = keys_of(s3, s3_address)
    elsewhere("cache")
    s3_store.put([document_of("b", "dog")])
    new = set(keys_of(s3, s3_address)) - set(before)
    files = {key.rpartition("/")[2] for key in new if key.startswith("files/")}
    assert 0 < len(files) < len([key for key in before if key.startswith("files/")])
    fetched = []
    download = reader._replica.bucket.download
    monkeypatch.setattr(reader._replica.bucket, "download", lambda *told: (fetched.append(told[2]), download(*told)))
    elsewhere("another machine")
    reader.version()
    assert len(reader) == 2
    assert set(fetched) == files


def test_a_change_that_changes_nothing_is_no_version(s3_store, document_of):
    s3_store.put([document_of("a", "cat")])
    s3_store.refresh()
    before = s3_store.version()
    s3_store.put([document_of("empty")])
    s3_store.refresh()
    assert s3_store.version() == before


def test_writers_on_many_machines_lose_nothing(s3_address, s3_store, elsewhere, document_of):
    stores = []
    for name in ("anna", "bert", "carl"):
        elsewhere(name)
        stores.append((name, open_store(s3_address)))

    def write(named):
        name, store = named
        for turn in range(2):
            store.put([document_of(f"{name} {turn}", f"{name} {turn}"), document_of("shared", name, f"{turn}")])

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, stores))
    read = open_store(s3_address)
    assert {source.path for source in read.sources()} == {
        "shared",
        *(f"{name} {turn}" for name, _ in stores for turn in range(2)),
    }
    assert len(read.passages("shared")) == 2
    assert read_head(read._replica.bucket).number == 1 + 3 * 2


def test_a_writer_waits_for_another_one_of_its_machine_and_then_says_so(s3_store, s3_address, document_of):
    other = open_store(s3_address)
    with (
        other._replica._writing(),
        pytest.raises(IndexStoreError, match=r"on this machine is writing .*waited 0\.5 s.* again"),
    ):
        s3_store.put([document_of("a", "cat")])
    s3_store.put([document_of("a", "cat")])


def test_vectors_of_a_beaten_writer_are_not_made_again(
    s3_store, s3_address, elsewhere, document_of, new_encoder, monkeypatch
):
    monkeypatch.setattr(module, "VECTORS_AT_ONCE", 2)
    s3_store.put([document_of("a", "one", "two", "three", "four", "five")])
    elsewhere("another machine")
    other = open_store(s3_address)
    mine, theirs = new_encoder(), new_encoder()
    s3_store.fill_vectors(mine, lambda *_: other.put([document_of("b", f"{len(other)}", "one")]), batch=1)
    assert mine.encoded[:5] == ["one", "two", "three", "four", "five"]
    assert len(set(mine.encoded)) == len(mine.encoded)
    other.fill_vectors(theirs)
    assert set(theirs.encoded).isdisjoint(mine.encoded)
    assert open_store(s3_address).missing_vectors() == 0


def test_an_older_version_stays_while_it_is_answered_from(s3_store, s3_address, document_of, ids_of):
    s3_store.put([document_of("a", "cat")])
    old = s3_store.lexical()
    held = s3_store.version()
    s3_store.put([document_of("a", "dog")])
    s3_store.put([document_of("a", "mouse")])
    now = s3_store.version()
    assert snapshots_of(s3_address) == sorted([held, now])
    assert ids_of(old.retrieve(["cat"], 1)[0]) == ["a#0"]
    del old
    gc.collect()
    s3_store.put([document_of("a", "horse")])
    assert snapshots_of(s3_address) == [s3_store.version()]


def test_a_reader_moves_whole_and_its_retriever_stays(s3_store, s3_address, elsewhere, document_of, ids_of):
    s3_store.put([document_of("a", "cat")])
    elsewhere("another machine")
    reader = open_store(s3_address)
    retriever, seen = reader.lexical(), reader.version()
    elsewhere("cache")
    s3_store.put([document_of("a", "dog")])
    elsewhere("another machine")
    assert len(reader.lexical().retrieve(["cat"], 1)[0]) == 1
    assert reader.version() != seen
    assert ids_of(reader.lexical().retrieve(["dog"], 1)[0]) == ["a#0"]
    assert ids_of(retriever.retrieve(["cat"], 1)[0]) == ["a#0"]


def test_a_long_move_does_not_keep_a_reader_waiting(s3_store, s3_address, elsewhere, document_of, monkeypatch):
    elsewhere("another machine")
    reader = open_store(s3_address)
    seen = reader.version()
    elsewhere("cache")
    s3_store.put([document_of("a", "cat")])
    elsewhere("another machine")
    monkeypatch.setattr(replica, "PATIENCE", 0.01)
    download = reader._replica.bucket.download
    monkeypatch.setattr(reader._replica.bucket, "download", lambda *told: (time.sleep(0.3), download(*told)))
    assert reader.version() == seen
    reader._replica._mover.join()
    assert len(reader) == 1


def test_the_last_versions_stay_in_the_bucket_and_nothing_else(s3, s3_store, s3_address, document_of):
    for turn in range(KEPT + 3):
        s3_store.put([document_of("a", f"text {turn}")])
    s3_store._replica.bucket.put("files/00000003-killed/0", b"of an attempt that nobody finished")
    s3_store._replica.bucket.put("files/99999999-at-work/0", b"of an attempt that may be at work")
    s3_store._replica.bucket.put("files/notes", b"not ours")
    s3_store.refresh()
    keys = keys_of(s3, s3_address)
    names = read_head(s3_store._replica.bucket).names
    assert len(names) == KEPT
    assert [key for key in keys if key.startswith("versions/")] == sorted(f"versions/{name}.json" for name in names)
    assert "files/00000003-killed/0" not in keys
    assert {"files/99999999-at-work/0", "files/notes"} <= set(keys)
    files = {file.key for name in names for file in read_version(s3_store._replica.bucket, name)}
    assert files <= set(keys)


def test_an_older_version_comes_back_where_the_pointer_names_no_newer_one(s3_store, s3_address, elsewhere, document_of):
    for text in ("cat", "dog"):
        s3_store.put([document_of("a", text)])
    bucket = s3_store._replica.bucket
    back = read_head(bucket).names[1:]
    bucket.put(CURRENT, json.dumps({"format": FORMAT, "versions": back}).encode())
    for _ in range(2):
        store = open_store(s3_address)
        assert [passage.text for passage in store.passages("a")] == ["cat"]
        elsewhere("another machine")
    store.put([document_of("b", "mouse")])
    store.refresh()
    assert {passage.text for passage in open_store(s3_address).passages()} == {"cat", "mouse"}


def test_states_of_passages_stay_on_this_machine(s3, s3_store, s3_address, document_of):
    folder = folder_beside(s3_address) / STATES
    folder.mkdir()
    (folder / "state").write_bytes(b"keys and values")
    s3_store.put([document_of("a", "cat")])
    s3_store.refresh()
    assert (folder / "state").is_file()
    assert not [key for key in keys_of(s3, s3_address) if "state" in key]


def test_a_snapshot_that_lost_a_file_is_fetched_again(s3_store, s3_address, document_of, ids_of):
    s3_store.put([document_of("a", "cat")])
    del s3_store
    for file in (folder_beside(s3_address) / "versions").rglob("data/*.lance"):
        file.unlink()
    assert ids_of(open_retriever(s3_address, "bm25").retrieve(["cat"], 1)[0]) == ["a#0"]


def test_an_index_that_stayed_empty_is_taken_away(s3, s3_store, s3_address, document_of):
    s3_store.put([document_of("a", "cat")])
    s3_store.discard_empty()
    assert len(open_store(s3_address)) == 1
    s3_store.remove("a")
    s3_store.discard_empty()
    assert keys_of(s3, s3_address) == [CURRENT]
    with pytest.raises(IndexStoreError, match=r"no index there; make one with: rankrag index DOCUMENTS --index s3://"):
        open_store(s3_address)
    assert len(create_store(s3_address)) == 0


@pytest.mark.parametrize("writer_first", [True, False])
def test_taking_an_empty_index_away_loses_nothing_that_is_written_meanwhile(
    writer_first, s3_store, s3_address, elsewhere, document_of, ids_of, monkeypatch
):
    """One of the two looks at the bucket, the other one does all its work, and then the first goes on."""
    writer, interleaved = open_store(s3_address), []
    elsewhere("another machine")
    other = open_store(s3_address)

    def at(place, doing):
        original = getattr(replica, place)

        def late(*given):
            if not interleaved:
                interleaved.append(place)
                doing()
            return original(*given)

        monkeypatch.setattr(replica, place, late)

    if writer_first:
        at("take_away", lambda: writer.put([document_of("a", "cat")]))
        other.discard_empty()
    else:
        at("publish_version", other.discard_empty)
        writer.put([document_of("a", "cat")])
    assert interleaved
    elsewhere("a third machine")
    read = open_store(s3_address)
    assert ids_of(read.lexical().retrieve(["cat"], 1)[0]) == ["a#0"]
    number = read_head(read._replica.bucket).number
    writer.put([document_of("b", "dog")])
    assert (len(open_store(s3_address)), read_head(read._replica.bucket).number) == (2, number + 1)


def test_a_folder_of_the_cache_is_an_index_of_its_own(s3_store, s3_address, document_of):
    s3_store.put([document_of("a", "cat")])
    (folder,) = (folder_beside(s3_address) / "versions").iterdir()
    assert len(PassageStore.open(folder)) == 1
