"""Five thousand broken files over all formats."""

from __future__ import annotations

import random

import pytest

from ..documents.files_of import SAMPLES
from ..documents.test_hostile import check, mutated

FILES = 5_000


@pytest.mark.acceptance
@pytest.mark.parametrize("name", SAMPLES)
def test_no_reader_raises_anything_but_our_errors(name: str) -> None:
    rng = random.Random(name)
    for _ in range(-(-FILES // len(SAMPLES))):
        kinds = ["cut", "flip", "insert", "double", "drop"]
        changes = [
            (rng.random(), rng.choice(kinds), rng.randbytes(rng.randrange(12))) for _ in range(rng.randint(1, 6))
        ]
        check(name, mutated(SAMPLES[name], changes))
