from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("psycopg")

from rankrag.retrieval.postgres import postings


@pytest.mark.parametrize("last", [40, 4_000_000_000])
def test_weights_are_summed_by_passage_also_where_numbers_have_large_gaps(last):
    numbers = np.array([7, 9, last, 7, last, 12], np.uint32)
    found, sums = postings._summed(numbers, np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0]))
    assert found.dtype == np.uint32
    assert dict(zip(found.tolist(), sums.tolist(), strict=True)) == {7: 9.0, 9: 2.0, 12: 32.0, last: 20.0}
