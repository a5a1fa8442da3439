from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rankrag.contract import Contract
from rankrag.data.catalogue import BENCHMARKS
from rankrag.data.load import load_set
from rankrag.models.fake import FakeLanguageModel
from tests.data.own_sets import write_sets
from tests.stub_encoder import StubEncoder


def golden(reply="golden land", **contract):
    """Return a model that finds passages with "golden" relevant."""
    return FakeLanguageModel(yes_if="golden", reply=reply, contract=replace(Contract(), **contract))


@pytest.fixture
def encoder():
    return StubEncoder()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_sets(tmp_path / "data")


@pytest.fixture
def loaded(data):
    return lambda name: load_set(BENCHMARKS[name], data)
