from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from rankrag.documents.parts import SourcePassages
from rankrag.retrieval.encoder import Vectors, document_text
from rankrag.retrieval.store import PassageStore
from rankrag.types import Passage, Source


class FakeEncoder:
    """Words hashed into 16 buckets; equal words, near vectors."""

    def __init__(self, name="fake@1", similarity="cosine"):
        self.name, self.similarity = name, similarity
        self.encoded = []

    def encode_passages(self, passages: Sequence[Passage]) -> Vectors:
        texts = [document_text(passage) for passage in passages]
        self.encoded += texts
        return self.encode_queries(texts)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        vectors = np.zeros((len(texts), 16), np.float32)
        for row, text in zip(vectors, texts, strict=True):
            row[0] = 0.01
            for word in text.lower().split():
                row[hashlib.sha256(word.encode()).digest()[0] % 16] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True) if self.similarity == "cosine" else vectors


def document(path: str, *texts: str, sha256: str = "0", prefix: str | None = None) -> SourcePassages:
    name = path if prefix is None else prefix
    return SourcePassages(
        path, sha256, tuple(Passage(f"{name}#{i}", text, source=Source(path)) for i, text in enumerate(texts))
    )


def ids(ranking):
    return [scored.passage.id for scored in ranking]


@pytest.fixture
def encoder():
    return FakeEncoder()


@pytest.fixture
def new_encoder():
    return FakeEncoder


@pytest.fixture
def document_of():
    return document


@pytest.fixture
def ids_of():
    return ids


@pytest.fixture
def folder_store(tmp_path):
    return PassageStore.create_or_open(tmp_path / "index", lock_timeout=0.2)


@pytest.fixture
def postgres_address(postgres):
    """The address of an index of the test's own, which is not there yet."""
    return postgres.address(name=f'index {next(_NUMBERS)} "ü"'.replace('"', "%22").replace(" ", "%20"))


_NUMBERS = itertools.count()


@pytest.fixture
def postgres_store(postgres_address):
    from rankrag.retrieval.postgres.store import PostgresStore

    return PostgresStore.create_or_open(postgres_address, lock_timeout=0.5)


@pytest.fixture
def s3_address(s3):
    """The address of an index of the test's own, which is not there yet."""
    return f"s3://team/some folder/index {next(_NUMBERS)} ü"


@pytest.fixture
def s3_store(s3_address):
    from rankrag.retrieval.s3.store import BucketStore

    return BucketStore.create_or_open(s3_address, lock_timeout=0.5)


@pytest.fixture(params=["folder", "postgres", "s3"])
def store(request):
    """An empty index in each of its homes."""
    return request.getfixturevalue(f"{request.param}_store")
