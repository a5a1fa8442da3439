from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import permutation_test

from rankrag.evaluation.lines import Seconds
from rankrag.evaluation.statistics import (
    Interval,
    bootstrap_interval,
    cost_ratio,
    gap_interval,
    paired_difference,
    permutation_p,
)


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
    difference = paired_difference(before + 0.01, before)
    assert (difference.low, difference.high) == pytest.approx((0.01, 0.01))
    assert permutation_p(before + 0.01, before) < 0.001


def test_the_cost_of_reranking_is_the_papers_ratio():
    assert cost_ratio(100, Seconds(0.1, 0.02, 0.3)) == pytest.approx(100 * 0.02 / 0.4)
    assert cost_ratio(100, Seconds(0.0, 0.02, 0.0)) is None
    assert cost_ratio(100, Seconds(None, 0.02, 0.3)) is None


def test_the_gap_closed_is_a_share_of_what_can_be_reached():
    shares = [gap_interval([0.5], [reranked], [0.9]).mean for reranked in (0.6, 0.4)]
    assert shares == pytest.approx([0.25, -0.25])
    assert gap_interval([0.9], [0.9], [0.9]) is None


def test_an_interval_holds_the_mean_and_shrinks_to_it_without_variance():
    assert bootstrap_interval([0.5] * 4) == Interval(0.5, 0.5, 0.5)
    wide = bootstrap_interval([0.0, 1.0] * 50)
    assert wide.mean == 0.5
    # Half-width of a mean of 100 coin tosses: 1.96 * 0.5 / 10.
    assert wide.low == pytest.approx(0.402, abs=0.02)
    assert wide.high == pytest.approx(0.598, abs=0.02)
    assert wide == bootstrap_interval([0.0, 1.0] * 50)
    assert str(Interval(0.5, 0.25, 0.75)) == "0.500 [0.250, 0.750]"


def test_a_difference_is_paired_by_question():
    assert paired_difference([1.0, 0.5], [0.5, 0.0]) == Interval(0.5, 0.5, 0.5)


def test_the_gap_has_an_interval_and_none_without_a_gap():
    found = gap_interval([0, 0, 1, 1], [1, 0, 1, 1], [1, 1, 1, 1])
    assert found is not None
    assert found.mean == 0.5
    assert (found.low, found.high) == (0.0, 1.0)
    assert gap_interval([1, 1], [1, 0], [1, 1]) is None


def test_p_is_the_share_of_all_signs_that_give_so_large_a_difference():
    after, before = [1, 0.5, 0.3, 1, 0, 0.9, 0.2, 1, 0.7, 0.6], [0.2, 0.4, 0.6, 0, 0.1, 0.1, 0.2, 0.3, 0.4, 0.8]
    differences = [a - b for a, b in zip(after, before, strict=True)]
    flipped = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in product((-1, 1), repeat=10)
    ]
    exact = sum(of >= abs(sum(differences)) - 1e-9 for of in flipped) / len(flipped)
    assert 0.01 < exact < 0.2
    assert permutation_p(after, before) == pytest.approx(exact, abs=0.01)
    assert permutation_p(before, after) == pytest.approx(exact, abs=0.01)


def test_p_is_one_where_nothing_differs_and_small_where_all_do():
    assert permutation_p([0.5] * 9, [0.5] * 9) == 1
    assert permutation_p([1.0] * 40, [0.0] * 40) < 0.001
