from __future__ import annotations

import pytest

from tests.stub_encoder import StubEncoder


@pytest.fixture
def encoder():
    return StubEncoder()
