from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import permutation_test

from rankrag.evaluation.statistics import compared, cost_ratio, permutation_p


def scipy_p(after, before, resamples):
    found = permutation_test(
        (np.array(after), np.array(before)),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        rng=np.random.default_rng(1),
    )
    return found.pvalue


def test_a_small_sample_is_tested_exactly():
    rng = np.random.default_rng(0)
    for _ in range(20):
        after, before = rng.integers(0, 4, size=(2, 9)) / 4
        assert permutation_p(after, before) == pytest.approx(scipy_p(after, before, 2**10))


def test_a_large_sample_is_tested_by_drawn_signs():
    rng = np.random.default_rng(0)
    before = rng.random(200)
    after = before + rng.normal(0.05, 0.4, 200)
    assert permutation_p(after, before) == pytest.approx(scipy_p(after, before, 20_000), abs=0.02)
    assert permutation_p(after, before, seed=3) == permutation_p(after, before, seed=3)


def test_questions_without_a_difference_change_nothing():
    # All of three go one way: 2 of the 8 ways of giving signs are as far from 0.
    assert permutation_p([1, 1, 1, 0, 1], [0, 0, 0, 0, 1]) == 0.25
    assert permutation_p([1, 0, 1], [1, 0, 1]) == 1.0


def test_a_paired_interval_is_narrower_than_the_systems_own():
    rng = np.random.default_rng(0)
    before = rng.random(300)
    found = compared(before + 0.01, before)
    assert (found.difference.low, found.difference.high) == pytest.approx((0.01, 0.01))
    assert found.p < 0.001


def test_the_cost_of_reranking_is_the_papers_ratio():
    assert cost_ratio(100, 0.1, 0.02, 0.3) == pytest.approx(100 * 0.02 / 0.4)
    assert cost_ratio(100, 0.0, 0.02, 0.0) is None
