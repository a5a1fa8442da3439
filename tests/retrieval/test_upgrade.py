from __future__ import annotations

import shutil

import pyarrow as pa
import pytest

from rankrag.documents.document import Note
from rankrag.documents.parts import SourcePassages
from rankrag.errors import IndexStoreError
from rankrag.retrieval.homes import create_store, open_store
from rankrag.retrieval.lexical import analyse
from rankrag.retrieval.s3.address import parse_bucket
from rankrag.retrieval.snapshot import FORMAT_WITHOUT_FIELDS, SCHEMA, rows_of
from rankrag.retrieval.store import PassageStore
from rankrag.types import Passage, Source

DOCUMENT = SourcePassages(
    "a.md",
    "0",
    (
        Passage("a#0", "It sits.", title="Sitting", source=Source("a.md", 1, "Cats", 0, 8)),
        Passage("a#1", "Sitting still is not sleeping, say the sitting."),
    ),
    (Note("a picture"),),
)


@pytest.fixture
def old(tmp_path, encoder):
    """An index as the format without fields had it: terms of title and text alone, with vectors."""
    store = PassageStore.create_or_open(tmp_path / "index")
    store.put([DOCUMENT])
    store.fill_vectors(encoder)
    rows = rows_of([DOCUMENT])
    terms = [" ".join(analyse(f"{p.title}\n{p.text}")) for p in DOCUMENT.passages]
    rows = rows.set_column(rows.schema.get_field_index("terms"), SCHEMA.field("terms"), pa.array(terms))
    shutil.rmtree(tmp_path / "index" / "passages.lance")
    schema = SCHEMA.with_metadata({"rankrag.format": FORMAT_WITHOUT_FIELDS})
    store._db.create_table("passages", rows.cast(schema), schema=schema)
    return tmp_path / "index"


def test_readers_of_an_index_without_fields_are_told_how_to_go_on(old):
    with pytest.raises(IndexStoreError, match=r"earlier rankrag made this index.*run the same `rankrag index` again"):
        PassageStore.open(old)


def test_indexing_again_brings_it_up_to_date_and_keeps_all_else(old, encoder, ids_of):
    store = PassageStore.create_or_open(old)
    assert store.get(["a#0", "a#1"]) == {passage.id: passage for passage in DOCUMENT.passages}
    assert store.sources()[0].notes == DOCUMENT.notes
    assert store.missing_vectors() == 0
    assert ids_of(PassageStore.open(old).dense(encoder).retrieve(["It sits."], 1)[0])
    assert ids_of(store.lexical().retrieve(["sitting"], 2)[0]) == ["a#0", "a#1"]
    assert ids_of(store.lexical().retrieve(["cats"], 2)[0]) == ["a#0"]


def test_an_upgraded_index_has_the_scores_of_a_new_one(old, tmp_path):
    new = PassageStore.create_or_open(tmp_path / "new")
    new.put([DOCUMENT])
    old = PassageStore.create_or_open(old)
    assert old.lexical().retrieve(["sitting cats"], 5) == new.lexical().retrieve(["sitting cats"], 5)


def test_an_index_without_fields_in_a_bucket_is_brought_up_to_date_by_a_writer(old, s3_address, ids_of):
    from rankrag.retrieval.s3.bucket import Bucket
    from rankrag.retrieval.s3.versions import Head, files_in, publish_version

    bucket = Bucket(parse_bucket(s3_address))
    publish_version(bucket, Head(), old, files_in(old, None, ()))
    with pytest.raises(IndexStoreError, match=f"^{s3_address}: an earlier rankrag made this index"):
        open_store(s3_address)
    assert ids_of(create_store(s3_address).lexical().retrieve(["cats"], 2)[0]) == ["a#0"]
    assert open_store(s3_address).missing_vectors() == 0
