from __future__ import annotations

import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from rankrag.documents.parts import SourcePassages
from rankrag.errors import DataError, IndexStoreError
from rankrag.retrieval.postgres import store as module
from rankrag.retrieval.postgres.store import PostgresStore
from rankrag.types import Passage

WORDS = [f"word{i}" for i in range(30)]


def again(address):
    return PostgresStore.open(address, lock_timeout=0.5)


def counted(store):
    """The statistics that are kept, and those of the tables."""
    kept = "SELECT passages, terms FROM state"
    real = "SELECT count(*), coalesce(sum(terms), 0) FROM passages"
    with store._connections.reading() as connection:
        return [connection.execute(query).fetchone() for query in (kept, real)]


def test_an_index_is_opened_again(postgres_store, postgres_address, document_of):
    postgres_store.put([document_of("a", "cat", "dog")])
    assert len(again(postgres_address)) == 2
    assert len(PostgresStore.create_or_open(postgres_address)) == 2


def test_indexes_of_one_database_know_nothing_of_each_other(postgres, postgres_store, document_of):
    other = PostgresStore.create_or_open(postgres.address(name="another"))
    postgres_store.put([document_of("a", "cat")])
    assert (len(other), other.lexical().retrieve(["cat"], 1)) == (0, [()])


def test_every_commit_raises_the_version_and_a_refused_one_does_not(postgres_store, document_of, encoder):
    seen = [postgres_store.version()]
    for change in (
        lambda: postgres_store.put([document_of("a", "cat")]),
        lambda: postgres_store.fill_vectors(encoder),
        lambda: postgres_store.remove("a"),
    ):
        change()
        seen.append(postgres_store.version())
    assert seen == sorted(set(seen))
    with pytest.raises(IndexStoreError):
        postgres_store.remove("a")
    assert postgres_store.version() == seen[-1]


def test_scores_stay_exact_through_additions_changes_and_removals(postgres, postgres_store, document_of, ids_of):
    rng = random.Random(7)
    held = {}
    for _ in range(40):
        path = f"d{rng.randrange(8)}"
        texts = [" ".join(rng.choices(WORDS, k=rng.randint(1, 9))) for _ in range(rng.randrange(4))]
        if path in held and rng.random() < 0.2:
            postgres_store.remove(path)
            del held[path]
            continue
        postgres_store.put([document_of(path, *texts)])
        held.pop(path, None)
        if texts:
            held[path] = texts
    fresh = PostgresStore.create_or_open(postgres.address(name="fresh"))
    fresh.put([document_of(path, *texts) for path, texts in held.items()])
    kept, real = counted(postgres_store)
    assert kept == real == counted(fresh)[0]
    queries = [" ".join(rng.sample(WORDS, 3)) for _ in range(20)]
    pair = [store.lexical().retrieve(queries, 10) for store in (postgres_store, fresh)]
    assert pair[0] == pair[1]
    assert all(ranking for ranking in pair[0])


def test_a_retriever_sees_what_was_written_since(postgres_store, document_of, ids_of):
    retriever = postgres_store.lexical()
    postgres_store.put([document_of("a", "cat")])
    assert ids_of(retriever.retrieve(["cat"], 1)[0]) == ["a#0"]


def test_two_writers_of_one_document_leave_one_of_its_versions_whole(postgres_address, postgres_store, document_of):
    def write(writer):
        store = PostgresStore.open(postgres_address, lock_timeout=30)
        for turn in range(15):
            store.put([document_of("shared", *[f"{writer} {turn} {i}" for i in range(turn % 4)], sha256=f"{turn}"),
                       document_of(f"own {writer}", f"{writer} {turn}")])  # fmt: skip

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, ["anna", "bert", "carl", "dora"]))
    texts = [passage.text.rpartition(" ")[0] for passage in postgres_store.passages("shared")]
    assert len(set(texts)) <= 1
    assert len(texts) in (int(texts[0].split()[1]) % 4 if texts else 0, 0)
    assert len(postgres_store.sources()) == 4 + bool(texts)
    kept, real = counted(postgres_store)
    assert kept == real


def test_a_writer_of_another_document_does_not_wait(postgres_store, postgres_address, document_of):
    with PostgresStore.open(postgres_address)._connections.writing() as other:
        other.execute("INSERT INTO documents (path, sha256) VALUES ('a', '0')")
        postgres_store.put([document_of("b", "cat")])
        assert len(postgres_store) == 1


def test_a_lock_that_another_holds_is_named(postgres_store, postgres_address, document_of):
    postgres_store.put([document_of("a", "cat")])
    with PostgresStore.open(postgres_address)._connections.writing() as other:
        other.execute("SELECT FROM documents FOR UPDATE")
        with pytest.raises(IndexStoreError, match=r"another process is writing .*waited 0\.5 s.* try again"):
            postgres_store.put([document_of("a", "dog")])
        assert postgres_store.passages()[0].text == "cat"
    postgres_store.put([document_of("a", "dog")])
    assert postgres_store.passages()[0].text == "dog"


def test_an_id_that_two_writers_add_at_once_is_refused_to_the_second(postgres_store, postgres_address, document_of):
    with ThreadPoolExecutor(1) as pool:
        with PostgresStore.open(postgres_address)._connections.writing() as other:
            other.execute("INSERT INTO documents (path, sha256) VALUES ('a', '0')")
            other.execute("INSERT INTO passages SELECT 1000, 'x#0', number, '', 0, 'cat', '' FROM documents")
            late = pool.submit(PostgresStore.open(postgres_address).put, [document_of("b", "dog", prefix="x")])
            while not other.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
                time.sleep(0.01)
        with pytest.raises(DataError, match="x#0"):
            late.result()


def test_long_words_and_long_names_do_not_break_an_index(postgres_store, document_of, ids_of):
    word = "ab" * 5_000
    postgres_store.put([document_of("a", f"{word} cat", "dog")])
    assert ids_of(postgres_store.lexical().retrieve([word], 3)[0]) == ["a#0"]
    unlike = "".join(random.Random(1).choices("abcdefghijklmnop0123456789", k=9_000))
    with pytest.raises(DataError, match="too long for the database"):
        postgres_store.put([SourcePassages("b", "0", (Passage(unlike, "x"),))])
    assert len(postgres_store) == 2


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_the_vector_index_finds_what_comparing_all_finds(
    postgres_store, document_of, new_encoder, monkeypatch, similarity, ids_of
):
    encoder = new_encoder(similarity=similarity)
    rng = random.Random(3)
    texts = [" ".join(rng.sample(WORDS, 6)) for _ in range(300)]
    postgres_store.put([document_of("a", *texts, texts[0]), document_of("b", "gone")])
    postgres_store.fill_vectors(encoder)
    postgres_store.remove("b")
    retriever = postgres_store.dense(encoder)
    exact = retriever.retrieve(texts[:20], 10)
    monkeypatch.setattr(module, "EXACT_UP_TO", 100)
    postgres_store.refresh()
    with postgres_store._connections.writing() as connection:
        connection.execute("SET LOCAL enable_seqscan = off")
        (plan,) = zip(*connection.execute(f"EXPLAIN {_nearest(16)}"), strict=True)
    assert "vectors_near" in "".join(plan)
    near = retriever.retrieve(texts[:20], 10)
    assert [s.score for r in near for s in r] == pytest.approx([s.score for r in exact for s in r], rel=0.01)


def _nearest(dimensions):
    vector = f"'[{','.join(['1'] * dimensions)}]'"
    return f"SELECT key FROM vectors ORDER BY vector::halfvec({dimensions}) <#> {vector}::halfvec({dimensions}) LIMIT 5"


def test_refresh_drops_vectors_that_no_passage_uses(postgres_store, document_of, encoder):
    postgres_store.put([document_of("a", "one", "two")])
    postgres_store.fill_vectors(encoder)
    postgres_store.put([document_of("a", "one")])
    postgres_store.refresh()
    assert postgres_store._value("SELECT count(*) FROM vectors") == 1
    assert postgres_store.missing_vectors() == 0


def test_an_index_that_stayed_empty_is_taken_away(postgres_store, postgres_address, document_of):
    postgres_store.put([document_of("a", "cat")])
    postgres_store.discard_empty()
    assert len(postgres_store) == 1
    postgres_store.remove("a")
    postgres_store.discard_empty()
    with pytest.raises(IndexStoreError, match="no index there; make one with: rankrag index"):
        again(postgres_address)
