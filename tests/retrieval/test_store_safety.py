from __future__ import annotations

import os
import shutil

import pyarrow as pa
import pytest

from rankrag.errors import IndexStoreError
from rankrag.retrieval.snapshot import SCHEMA, explained
from rankrag.retrieval.store import PassageStore
from rankrag.retrieval.tables import create_table


@pytest.fixture
def store(folder_store):
    return folder_store


def folder_of(store):
    return store._path


def test_a_missing_index_is_named_with_the_remedy(tmp_path):
    with pytest.raises(IndexStoreError, match=r"no index there; make one with: rankrag index"):
        PassageStore.open(tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_a_folder_of_other_files_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(IndexStoreError, match="holds no rankrag index"):
        PassageStore.open(tmp_path)
    with pytest.raises(IndexStoreError, match=r"not an index, it holds thesis\.txt"):
        PassageStore.create_or_open(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_place_of_an_index_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    for make in (PassageStore.open, PassageStore.create_or_open):
        with pytest.raises(IndexStoreError, match="no index"):
            make(tmp_path / "file")


def test_an_interrupted_creation_is_finished(tmp_path):
    (tmp_path / "passages.lance" / "_transactions").mkdir(parents=True)
    assert len(PassageStore.create_or_open(tmp_path)) == 0


def test_a_text_index_that_was_not_made_is_made_later(store, document_of):
    store._table("passages").drop_index("terms_idx")
    again = PassageStore.create_or_open(folder_of(store))
    assert [index.columns for index in again._table("passages").list_indices()] == [["terms"]]


def test_an_index_of_another_format_must_be_rebuilt(tmp_path):
    store = PassageStore.create_or_open(tmp_path / "index")
    shutil.rmtree(tmp_path / "index" / "passages.lance")
    create_table(store._path, store._db, "passages", SCHEMA.with_metadata({"rankrag.format": "99"}))
    with pytest.raises(IndexStoreError, match="has format 99, this rankrag reads format 3; rebuild it"):
        PassageStore.open(tmp_path / "index")


def truncate(folder):
    for file in folder.rglob("*"):
        if file.is_file():
            os.truncate(file, 10)


def use_everything(folder, encoder):
    store = PassageStore.open(folder)
    store.lexical().retrieve(["cat"], 5)
    store.dense(encoder).retrieve(["cat"], 5)


@pytest.mark.parametrize("part", ["_versions", "data", "_indices"])
@pytest.mark.parametrize("damage", [truncate, shutil.rmtree])
def test_a_damaged_index_is_one_clear_error(store, document_of, encoder, part, damage):
    store.put([document_of("a", "cat", "dog")])
    store.refresh()
    store.fill_vectors(encoder)
    damage(folder_of(store) / "passages.lance" / part)
    with pytest.raises(IndexStoreError, match=r"cannot be read or written .* build it anew"):
        use_everything(folder_of(store), encoder)


def test_a_manifest_that_makes_rust_panic_is_the_same_clear_error(store, document_of, encoder):
    store.put([document_of("a", "cat", "dog")])
    for manifest in (folder_of(store) / "passages.lance" / "_versions").iterdir():
        manifest.write_bytes(manifest.read_bytes().replace(b"string", b"strinG"))
    with pytest.raises(IndexStoreError, match=r"cannot be read or written .* build it anew"):
        use_everything(folder_of(store), encoder)


def test_a_panic_that_is_no_exception_is_explained_and_an_interrupt_is_not(tmp_path):
    panic = type("PanicException", (BaseException,), {})
    with pytest.raises(IndexStoreError, match=r"unwrap.* build it anew"), explained(tmp_path):
        raise panic("called `Option::unwrap()` on a `None` value")
    with pytest.raises(KeyboardInterrupt), explained(tmp_path):
        raise KeyboardInterrupt


def test_damaged_vectors_leave_bm25_usable(store, document_of, encoder, ids_of):
    store.put([document_of("a", "cat", "dog")])
    store.fill_vectors(encoder)
    truncate(folder_of(store) / "vectors.lance" / "data")
    opened = PassageStore.open(folder_of(store))
    assert ids_of(opened.lexical().retrieve(["cat"], 5)[0]) == ["a#0"]
    with pytest.raises(IndexStoreError, match="build it anew"):
        opened.dense(encoder)


def test_vectors_of_an_unknown_encoder_are_called_damaged(store, document_of, encoder):
    store.put([document_of("a", "cat")])
    create_table(store._path, store._db, "vectors", pa.schema({"key": pa.string()}))
    with pytest.raises(IndexStoreError, match="vectors are damaged; build the index anew"):
        store.dense(encoder)


def test_a_second_writer_is_told_to_wait(store, document_of, encoder):
    other = PassageStore.open(folder_of(store), lock_timeout=0.0)
    with store._locked("write"), pytest.raises(IndexStoreError, match=r"another process is writing .* try again"):
        other.put([document_of("a", "one")])
    other.put([document_of("a", "one")])
    with store._locked("fill"), pytest.raises(IndexStoreError, match="another process is writing"):
        other.fill_vectors(encoder)


def test_an_index_that_cannot_be_written_is_named(store, document_of):
    lock = folder_of(store) / ".write.lock"
    lock.unlink(missing_ok=True)
    lock.mkdir()
    with pytest.raises(IndexStoreError, match="the index cannot be written"):
        store.put([document_of("a", "one")])
