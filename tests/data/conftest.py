from __future__ import annotations

from pathlib import Path

import pytest

from rankrag.data.catalogue import BENCHMARKS
from rankrag.data.load import load_set
from tests.data.own_sets import write_sets


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_sets(tmp_path / "data")


@pytest.fixture
def loaded(data):
    return lambda name: load_set(BENCHMARKS[name], data)
