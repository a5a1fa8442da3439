from __future__ import annotations

import random

import pyarrow as pa
import pytest

from rankrag.documents.parts import SourcePassages
from rankrag.errors import DataError, IndexStoreError
from rankrag.retrieval import store as store_module
from rankrag.retrieval.snapshot import SCHEMA
from rankrag.types import Passage, Source


def test_passages_come_back_exactly(store):
    passages = (
        Passage("1", "  text \n\n with\tspace \x00 🎉 ", title="Title"),
        Passage("2", "", source=Source("other.pdf", page=3, heading="", start=0, end=2**40)),
        Passage("3 'quoted'", "x", source=Source("a.md", heading="Über uns")),
    )
    store.put([SourcePassages("it's a.md", "0", passages)])
    assert store.get(["1", "2", "3 'quoted'"]) == {passage.id: passage for passage in passages}


def test_an_id_that_stands_twice_in_a_batch_is_refused(store, document_of):
    with pytest.raises(DataError, match="both in a and in b"):
        store.put([document_of("a", "one", prefix="x"), document_of("b", "two", prefix="x")])
    with pytest.raises(DataError, match="twice in a"):
        store.put([SourcePassages("a", "0", (Passage("1", "x"), Passage("1", "y")))])


def test_text_that_is_not_unicode_is_refused(store):
    with pytest.raises(DataError, match=r"a: passage '1' is not valid Unicode"):
        store.put([SourcePassages("a", "0", (Passage("1", "bad \ud800"),))])


def test_a_retriever_keeps_the_state_it_was_made_from(folder_store, document_of, ids_of):
    folder_store.put([document_of("a", "cat")])
    before = folder_store.lexical()
    folder_store.put([document_of("a", "dog")])
    folder_store.refresh()
    assert ids_of(before.retrieve(["cat"], 5)[0]) == ["a#0"]


def test_dense_finds_the_nearest_passages_that_have_a_vector(store, document_of, encoder, ids_of):
    store.put([document_of("a", "red cat", "blue whale", "red cat")])
    store.fill_vectors(encoder)
    store.put([document_of("b", "red fox")])
    found = store.dense(encoder).retrieve(["red cat", "", "blue whale"], 2)
    assert [ids_of(ranking) for ranking in found] == [["a#0", "a#2"], [], ids_of(found[2])]
    assert found[2][0].passage.text == "blue whale"
    assert found[0][0].score == pytest.approx(1, abs=1e-3)
    assert store.missing_vectors() == 1


def test_dense_without_any_vector_says_what_to_do(store, document_of, encoder):
    store.put([document_of("a", "one")])
    assert store.encoder_name() is None
    with pytest.raises(IndexStoreError, match="no passage has a vector yet; run rankrag index again"):
        store.dense(encoder)


def test_dense_over_an_empty_index_finds_nothing(store, encoder):
    assert store.dense(encoder).retrieve(["one"], 5) == [()]


def test_hybrid_fuses_both(store, document_of, encoder, ids_of):
    store.put([document_of("a", "red cat", "blue whale", "green tree")])
    store.fill_vectors(encoder)
    (ranking,) = store.hybrid(encoder).retrieve(["blue whale"], 2)
    assert ids_of(ranking)[0] == "a#1"
    assert len(ranking) == 2


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("indexed", [False, True])
def test_approximate_search_agrees_with_exact_search(
    folder_store, document_of, new_encoder, monkeypatch, indexed, similarity
):
    encoder = new_encoder(similarity=similarity)
    rng = random.Random(3)
    words = [f"w{i}" for i in range(40)]
    texts = [" ".join(rng.sample(words, 6)) for _ in range(300)]
    folder_store.put([document_of("a", *texts, texts[0]), document_of("b", "gone")])
    folder_store.fill_vectors(encoder)
    folder_store.remove("b")
    if indexed:
        monkeypatch.setattr(store_module, "EXACT_UP_TO", 100)
        folder_store.refresh()
        assert list(folder_store._vectors.open().list_indices())
    exact, near = (folder_store.dense(encoder, exact_up_to=n).retrieve(texts[:20], 10) for n in (1000, 100))
    for first, second in zip(exact, near, strict=True):
        assert [s.score for s in second] == pytest.approx([s.score for s in first], rel=1e-3 if not indexed else 0.05)
    if similarity == "cosine":  # a long vector may have a larger product with a query than the query itself
        assert [s.passage.id for s in near[0][:2]] == ["a#0", "a#300"]


def test_an_error_of_the_encoder_is_not_called_damage(store, document_of, encoder):
    store.put([document_of("a", "one")])
    store.fill_vectors(encoder)

    def fail(texts):
        raise RuntimeError("out of memory")

    retriever = store.dense(encoder)
    encoder.encode_queries = fail
    with pytest.raises(RuntimeError, match="out of memory"):
        retriever.retrieve(["one"], 1)


def test_the_columns_are_the_fields_of_a_passage():
    assert {"id", "text", "title", "path", "heading", "page", "start", "end"} < set(SCHEMA.names)
    assert SCHEMA.field("page").type == pa.int64()
