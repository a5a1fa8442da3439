from __future__ import annotations

import pytest

from rankrag.documents.parts import IndexedSource
from rankrag.errors import DataError, IndexStoreError
from rankrag.retrieval import store as module
from rankrag.retrieval.store import PassageStore
from rankrag.types import Passage


def folder_of(store):
    return store._path


def test_a_new_index_is_empty(store):
    assert len(store) == 0
    assert store.sources() == []
    assert store.lexical().retrieve(["anything"], 5) == [()]


def test_an_index_is_opened_again(folder_store, document_of):
    folder_store.put([document_of("a", "cat", "dog")])
    assert len(PassageStore.open(folder_of(folder_store))) == 2
    assert len(PassageStore.create_or_open(folder_of(folder_store))) == 2


def test_unknown_ids_are_left_out(store, document_of):
    store.put([document_of("a", "cat")])
    assert list(store.get(["nope", "a#0"])) == ["a#0"]
    assert store.get([]) == {}


def test_all_passages_come_document_by_document(store, document_of):
    store.put([document_of("b", "cat", "dog")])
    store.put([document_of("a", "horse")])
    assert [passage.id for passage in store.passages()] == ["a#0", "b#0", "b#1"]


def test_sources_are_counted(store, document_of, encoder):
    store.put([document_of("b", "cat", "dog", sha256="1"), document_of("a", "horse", sha256="2")])
    store.fill_vectors(encoder)
    store.put([document_of("b", "cat", "mouse", sha256="3")])
    assert store.sources() == [IndexedSource("a", "2", 1, 1), IndexedSource("b", "3", 2, 1)]


def test_put_replaces_all_passages_of_a_document_and_no_others(store, document_of):
    store.put([document_of("a", "one", "two", "three"), document_of("it's b", "four")])
    store.put([document_of("a", "uno"), document_of("new", "five")])
    found = store.get([f"{path}#{i}" for path in ("a", "it's b", "new") for i in range(3)])
    assert {name: passage.text for name, passage in found.items()} == {
        "a#0": "uno",
        "it's b#0": "four",
        "new#0": "five",
    }


def test_put_is_one_commit(folder_store, document_of):
    folder_store.put([document_of("a", "one", "two"), document_of("b", "three")])
    before = folder_store._table("passages").version
    folder_store.put([document_of("a", "uno"), document_of("b", "tre", "quattro"), document_of("c", "cinque")])
    assert folder_store._table("passages").version == before + 1


def test_a_document_that_became_empty_leaves_no_passages(store, document_of):
    store.put([document_of("a", "one"), document_of("b", "two")])
    store.put([document_of("a")])
    assert [source.path for source in store.sources()] == ["b"]


def test_put_of_nothing_changes_nothing(store, document_of):
    store.put([])
    store.put([document_of("empty")])
    assert len(store) == 0


def test_an_id_may_move_between_documents_of_one_batch(store, document_of):
    store.put([document_of("a", "one", prefix="x"), document_of("b", "two", prefix="y")])
    store.put([document_of("a", "one", prefix="y"), document_of("b", "two", prefix="x")])
    assert {name: passage.source.path for name, passage in store.get(["x#0", "y#0"]).items()} == {
        "x#0": "b",
        "y#0": "a",
    }


def test_an_id_of_another_document_is_refused_and_both_are_named(store, document_of):
    store.put([document_of("a", "one", prefix="x")])
    with pytest.raises(DataError, match=r"'x#0' stands both in a and in b; give every passage"):
        store.put([document_of("b", "two", prefix="x")])
    assert [source.path for source in store.sources()] == ["a"]


def test_new_text_is_found_before_and_after_refresh(store, document_of, ids_of):
    store.put([document_of("a", "cat", "dog")])
    store.refresh()
    store.put([document_of("a", "mouse", "horse"), document_of("b", "dog")])
    for _ in range(2):
        found = store.lexical().retrieve(["mouse", "cat", "dog"], 5)
        assert [ids_of(ranking) for ranking in found] == [["a#0"], [], ["b#0"]]
        store.refresh()


def test_remove_takes_one_document(store, document_of):
    store.put([document_of("docs/a", "one", "two"), document_of("docs/ab", "three"), document_of("it's", "four")])
    assert store.remove("docs/a") == 2
    assert store.remove("it's") == 1
    assert [source.path for source in store.sources()] == ["docs/ab"]


@pytest.mark.parametrize("folder", ["docs", "docs/"])
def test_remove_takes_all_below_a_folder(store, document_of, folder):
    store.put([document_of("docs/a", "1"), document_of("docs/x/b_%", "2"), document_of("docs2/c", "3")])
    assert store.remove(folder) == 2
    assert [source.path for source in store.sources()] == ["docs2/c"]


def test_removing_an_unknown_document_names_near_ones(store, document_of):
    store.put([document_of("docs/planets.md", "1"), document_of("docs/moons.md", "2")])
    with pytest.raises(IndexStoreError, match=r"planets\.md is not in the index; did you mean docs/planets\.md\?"):
        store.remove("planets.md")
    with pytest.raises(IndexStoreError, match="rankrag index --list"):
        store.remove("zzz")


def test_vectors_are_filled_in_batches_with_progress(store, document_of, encoder):
    store.put([document_of("a", "one", "two", "three", "four", "five")])
    seen = []
    assert store.missing_vectors() == 5
    assert store.fill_vectors(encoder, lambda _, done, total: seen.append((done, total)), batch=2) == 5
    assert seen == [(2, 5), (4, 5), (5, 5)]
    assert store.missing_vectors() == 0
    assert store.encoder_name() == "fake@1"


def test_filling_goes_on_where_it_was_interrupted(store, document_of, encoder):
    store.put([document_of("a", "one", "two", "three", "four", "five")])

    def interrupt(text, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.fill_vectors(encoder, interrupt, batch=2)
    assert store.missing_vectors() == 3
    assert store.fill_vectors(encoder) == 3
    assert sorted(encoder.encoded) == ["five", "four", "one", "three", "two"]


def test_a_text_is_encoded_once_however_often_it_stands(store, document_of, encoder):
    store.put([document_of("a", "same", "same"), document_of("b", "same", "other")])
    assert store.fill_vectors(encoder) == 2
    store.put([document_of("b", "new", "other")])
    assert store.fill_vectors(encoder) == 1
    assert store.fill_vectors(encoder) == 0
    assert sorted(encoder.encoded) == ["new", "other", "same"]


def test_refresh_drops_vectors_that_no_passage_uses(folder_store, document_of, encoder):
    folder_store.put([document_of("a", "one", "two")])
    folder_store.fill_vectors(encoder)
    folder_store.put([document_of("a", "one")])
    folder_store.refresh()
    assert folder_store._vectors.open().count_rows() == 1
    assert folder_store.missing_vectors() == 0


def test_another_encoder_is_refused(store, document_of, encoder, new_encoder):
    store.put([document_of("a", "one")])
    store.fill_vectors(encoder)
    for use in (store.dense, store.hybrid, store.fill_vectors):
        with pytest.raises(IndexStoreError, match=r"made by fake@1, the encoder now is other@2; use fake@1, or index"):
            use(new_encoder("other@2"))


def test_vectors_are_given_by_text_where_this_encoder_made_them(store, document_of, encoder, new_encoder):
    store.put([document_of("a", "the tagus", "it's the ebro")])
    passages = store.passages()
    assert store.vectors_of(encoder, passages) == {}
    store.fill_vectors(encoder)
    found = store.vectors_of(encoder, [*passages, Passage("new", "a lake")])
    assert sorted(found) == ["it's the ebro", "the tagus"]
    assert found["the tagus"] == pytest.approx(encoder.encode_queries(["the tagus"])[0], rel=1e-3)
    assert store.vectors_of(new_encoder("other@1"), passages) == store.vectors_of(encoder, []) == {}
    assert store.vectors_of(encoder, [Passage("new", "a lake")]) == {}


def test_vectors_are_not_looked_for_among_very_many(folder_store, document_of, encoder, monkeypatch):
    folder_store.put([document_of("a", "the tagus", "it's the ebro")])
    folder_store.fill_vectors(encoder)
    monkeypatch.setattr(module, "EXACT_UP_TO", 1)
    assert folder_store.vectors_of(encoder, folder_store.passages()) == {}
