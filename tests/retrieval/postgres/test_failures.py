"""Databases that refuse, go away or come from another time: one clear error, and nothing half done."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest

from rankrag.documents.parts import SourcePassages
from rankrag.errors import IndexStoreError
from rankrag.opening import open_retriever
from rankrag.retrieval.homes import create_store, open_store
from rankrag.retrieval.postgres import schema
from rankrag.retrieval.postgres.store import PostgresStore
from rankrag.retrieval.rows import row_of
from rankrag.types import Passage, Source


def state(postgres_store, format_):
    with postgres_store._connections.writing() as connection:
        connection.execute("UPDATE state SET format = %s", [format_])


def test_a_missing_index_is_named_with_the_remedy(postgres):
    with pytest.raises(IndexStoreError, match=r"/nothing.*: no index there; make one with: rankrag index"):
        open_store(postgres.address(name="nothing"))


def test_a_schema_with_tables_of_others_is_left_alone(postgres):
    postgres.execute("CREATE SCHEMA shop", "CREATE TABLE shop.state (format int)", "CREATE TABLE shop.orders ()")
    with pytest.raises(IndexStoreError, match="not an index, the schema holds orders; choose another name"):
        create_store(postgres.address(name="shop"))


def test_tables_of_the_same_name_elsewhere_are_no_index(postgres):
    postgres.execute("CREATE DATABASE crowded")
    postgres.execute("CREATE TABLE public.state AS SELECT 1 AS format", database="crowded")
    with pytest.raises(IndexStoreError, match="no index there"):
        open_store(postgres.address("crowded"))


def test_a_server_that_is_not_there_is_named():
    with pytest.raises(IndexStoreError, match=r"^postgresql://127\.0\.0\.1:1/db/rankrag: the database cannot be reach"):
        open_store("postgresql://127.0.0.1:1/db")


def test_a_wrong_password_is_explained_and_never_shown(postgres, monkeypatch, caplog):
    address = postgres.tcp()
    monkeypatch.setenv("PGPASSWORD", "not-the-password")
    with pytest.raises(IndexStoreError, match=r"no connection; set PGPASSWORD, or write the password to") as caught:
        create_store(address)
    assert "not-the-password" not in f"{caught.value}{caplog.text}"
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("PGPASSFILE", str(postgres.folder / "none"))
    with pytest.raises(IndexStoreError, match="set PGPASSWORD"):
        create_store(address)


def test_the_password_comes_from_a_file(postgres, monkeypatch, tmp_path, document_of):
    passfile = tmp_path / "pgpass"
    passfile.write_text(f"127.0.0.1:{postgres.port}:*:postgres:{postgres.password}\n")
    passfile.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passfile))
    store = create_store(f"{postgres.tcp()}/{quote('from a file')}")
    store.put([document_of("a", "cat")])
    assert len(store) == 1


def test_an_index_of_a_newer_rankrag_is_left_alone(postgres_store, postgres_address):
    state(postgres_store, 99)
    for opens in (open_store, create_store):
        with pytest.raises(IndexStoreError, match=r"format 99, this rankrag reads formats up to \d+; upgrade rankrag"):
            opens(postgres_address)


def test_an_older_index_is_brought_up_to_date_by_its_owner(postgres_store, postgres_address, document_of, monkeypatch):
    postgres_store.put([document_of("a", "cat")])
    now = len(schema.STEPS)
    monkeypatch.setattr(schema, "STEPS", (*schema.STEPS, "ALTER TABLE passages ADD language text"))
    with pytest.raises(
        IndexStoreError, match=f"format {now}, this rankrag reads format {now + 1}; its owner brings it"
    ):
        open_store(postgres_address)
    assert len(create_store(postgres_address)) == len(open_store(postgres_address)) == 1


def test_an_index_with_terms_of_an_older_format_gets_those_of_today(
    postgres, postgres_store, postgres_address, document_of, encoder
):
    documents = [document_of("a", "red cat cat", "blue whale \0"), document_of("b", "red tree, green tree, blue tree")]
    fresh = create_store(postgres.address(name=f"fresh%20{postgres_address[-1]}"))
    for store in (postgres_store, fresh):
        store.put(documents)
    postgres_store.fill_vectors(encoder)
    with postgres_store._connections.writing() as connection:
        connection.execute("UPDATE postings SET term = 'old ' || term")
        connection.execute("UPDATE passages SET terms = 1000")
        connection.execute("UPDATE state SET terms = 3000, format = 1")
    with pytest.raises(IndexStoreError, match="format 1, this rankrag reads format 2; its owner brings it up to date"):
        open_store(postgres_address)
    renewed = create_store(postgres_address)
    queries = ["red cat", "blue tree", "old"]
    assert renewed.lexical().retrieve(queries, 9) == fresh.lexical().retrieve(queries, 9)
    assert renewed.missing_vectors() == 0


TERMS = (
    "titl titl titl top wasn t 1250 e mail email job n max connect maxconnect integ -jobs "
    "job n max connect maxconnect integ -jobs job n max connect maxconnect integ -jobs"
)


def test_the_format_is_raised_whenever_passages_get_other_terms():
    """If this fails, append `renew_terms` to `schema.STEPS`, and then pin the new terms here."""
    text = "It wasn't 1,250 e-mails.\n--jobs=n\nmax_connections (integer)"
    passage = Passage("a", text, "The title", Source("a", heading="Top"))
    terms = row_of(SourcePassages("a", "0", (passage,)), passage)["terms"]
    assert (len(schema.STEPS), terms) == (2, TERMS)


def test_a_reader_needs_no_more_than_select(postgres, postgres_store, document_of, encoder, ids_of):
    postgres_store.put([document_of("a", "red cat", "blue whale")])
    postgres_store.fill_vectors(encoder)
    name = postgres_store._database.schema.replace('"', '""')
    grants = [f'GRANT USAGE ON SCHEMA "{name}" TO reader', f'GRANT SELECT ON ALL TABLES IN SCHEMA "{name}" TO reader']
    postgres.execute("CREATE ROLE reader LOGIN", *grants)
    address = postgres.address(name=quote(postgres_store._database.schema), user="reader")
    store = open_store(address)
    assert ids_of(store.hybrid(encoder).retrieve(["blue whale"], 1)[0]) == ["a#1"]
    assert len(store.vectors_of(encoder, store.passages())) == store.sources()[0].embedded == 2
    for change in (lambda: store.put([document_of("b", "dog")]), lambda: store.remove("a"), store.refresh):
        with pytest.raises(IndexStoreError, match=r"has not the rights for it; docs/postgresql\.md has the GRANT"):
            change()
    assert len(create_store(address)) == 2


def test_a_role_without_any_right_is_told_so(postgres, postgres_store):
    postgres.execute("CREATE ROLE stranger LOGIN")
    address = postgres.address(name=quote(postgres_store._database.schema), user="stranger")
    with pytest.raises(IndexStoreError, match="has not the rights"):
        open_store(address)
    with pytest.raises(IndexStoreError, match="has not the rights"):
        create_store(postgres.address(name="new", user="stranger"))


def test_without_pgvector_bm25_serves_and_one_line_says_so(postgres, document_of, encoder, ids_of):
    postgres.execute("CREATE ROLE plain LOGIN", "CREATE DATABASE plain OWNER plain")
    address = postgres.address("plain", user="plain")
    store = create_store(address)  # pgvector is there, but only an administrator may switch it on
    store.put([document_of("a", "cat", "dog")])
    store.refresh()
    said = []
    found = open_retriever(address, "hybrid", encoder=encoder, say=said.append).retrieve(["dog"], 2)
    assert ids_of(found[0]) == ["a#1"]
    (line,) = said
    assert line.endswith("so BM25 alone is used; an administrator runs CREATE EXTENSION vector (docs/postgresql.md)")
    assert (store.missing_vectors(), store.sources()[0].embedded, store.vectors_of(encoder, [])) == (2, 0, {})
    for use in (lambda: store.fill_vectors(encoder), lambda: store.dense(encoder)):
        with pytest.raises(IndexStoreError, match="BM25 alone"):
            use()
    postgres.execute("CREATE EXTENSION vector", database="plain")
    assert "its owner runs rankrag index" in open_store(address).why_no_vectors()
    assert create_store(address).fill_vectors(encoder) == 2


def test_a_writer_whose_connection_breaks_changes_nothing(postgres, postgres_store, postgres_address, document_of):
    postgres_store.put([document_of("a", "cat")])
    with ThreadPoolExecutor(1) as pool, open_store(postgres_address)._connections.writing() as other:
        other.execute("SELECT FROM state FOR UPDATE")  # so that the writer waits with all but its last statement done
        late = pool.submit(PostgresStore.open(postgres_address, lock_timeout=30).put, [document_of("a", "dog")])
        waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        while not (found := other.execute(waiting).fetchone()):
            time.sleep(0.01)
            other.execute("SELECT pg_stat_clear_snapshot()")
        other.execute("SELECT pg_terminate_backend(%s)", found)
        with pytest.raises(IndexStoreError, match=r"went away; what was committed is safe, run the same command again"):
            late.result()
    assert [passage.text for passage in postgres_store.passages()] == ["cat"]


def test_a_server_that_goes_away_while_indexing_and_asking_is_used_again_once_it_is_back(
    own_postgres, document_of, encoder, ids_of
):
    address = own_postgres.address()
    store = create_store(address)
    store.put([document_of("a", "red cat", "blue whale", "green tree")])
    retriever = store.lexical()
    assert ids_of(retriever.retrieve(["whale"], 1)[0]) == ["a#1"]

    def stop(text, done, total):
        own_postgres.stop()

    with pytest.raises(IndexStoreError, match=r"cannot be reached or went away"):
        store.fill_vectors(encoder, stop, batch=2)
    with pytest.raises(IndexStoreError, match=r"cannot be reached or went away"):
        retriever.retrieve(["whale"], 1)
    own_postgres.start()
    assert ids_of(retriever.retrieve(["whale"], 1)[0]) == ["a#1"]
    assert store.missing_vectors() == 1
    assert store.fill_vectors(encoder) == 1
    own_postgres.stop("fast")
    own_postgres.start()
    assert len(store.hybrid(encoder).retrieve(["tree"], 9)[0]) == 3
