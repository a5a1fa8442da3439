from __future__ import annotations

import pytest

from rankrag.evaluation.selection import (
    WEIGHTS,
    Case,
    Threshold,
    WeightTrial,
    best_depth,
    best_threshold,
    best_weight,
    depth_trial,
    weight_trials,
)


def test_the_grid_goes_from_the_papers_order_to_two():
    assert (WEIGHTS[0], WEIGHTS[1], WEIGHTS[-1], len(WEIGHTS)) == (0.0, 0.1, 2.0, 21)


def test_a_trial_is_the_mean_over_sources_of_means_over_questions_and_first_stages():
    odds = {"a": 0.0, "b": 1.0}
    # At weight 0, b leads; at 2, the first stage's first: b falls by 2 ln 2 = 1.39.
    one = Case(("a",), (("a", "b"), ("b", "a")), odds)
    other = Case(("b",), (("a", "b"), ("a", "b")), odds)
    hop = Case(("a", "b"), (("a", "b"),), odds)
    paper, heavy = weight_trials(
        {"squad": [one, other], "hotpotqa": [hop]}, {"squad": "R@1", "hotpotqa": "all-gold@5"}, [0.0, 2.0]
    )
    # squad at 0: R@1 0, 0, 1, 1; at 2: 1, 0, 0, 0. hotpotqa has both within five either way.
    assert paper == WeightTrial(0.0, (0.5 + 1) / 2, (0.75 + 1) / 2)
    assert heavy == WeightTrial(2.0, (0.25 + 1) / 2, (0.625 + 1) / 2)


def test_the_best_weight_has_the_best_metric_then_mrr_then_is_the_smaller():
    assert best_weight([WeightTrial(0, 0.5, 0.9), WeightTrial(1, 0.6, 0.1)]) == 1
    assert best_weight([WeightTrial(0, 0.6, 0.5), WeightTrial(1, 0.6, 0.7)]) == 1
    assert best_weight([WeightTrial(0, 0.6, 0.7), WeightTrial(1, 0.6, 0.7 + 1e-12)]) == 0


def test_the_threshold_separates_what_can_be_separated():
    assert best_threshold([2.0, 3.0], [-1.0, 0.0]) == Threshold(1.0, 1.0, 0.0)


def test_the_threshold_refuses_few_answerable_ones():
    answerable = [0.0] + [10.0] * 24
    # Below 5 all unanswerable ones are refused, and 1 of 25 answerable ones: 4 %, which is allowed.
    assert best_threshold(answerable, [-2.0, -1.0, 0.5, 1.0]) == Threshold(5.5, 1.0, pytest.approx(0.04))
    # One more makes it 2 of 26, so only what lies below both of them is refused.
    assert best_threshold([0.0, *answerable], [-2.0, -1.0, 0.5, 1.0]) == Threshold(-0.5, 0.5, 0.0)


def test_of_equal_thresholds_the_lowest_is_taken():
    # Refusing 1.0 as well gains half of the one and costs half of the other.
    assert best_threshold([1.0, 3.0], [0.0, 2.0], at_most=1.0) == Threshold(0.5, 0.5, 0.0)


def test_nothing_is_withheld_where_no_threshold_helps():
    assert best_threshold([0.0, 1.0], [2.0, 3.0]) == Threshold(None, 0.0, 0.0)
    assert best_threshold([], []) == Threshold(None, 0.0, 0.0)
    assert best_threshold([0.0, 1.0], []) == Threshold(None, 0.0, 0.0)


def test_the_depth_with_the_best_f1_is_taken_and_the_smaller_of_equals():
    right = [["the Tagus"], ["Lisbon", "Lisboa"]]
    one, two = depth_trial(1, ["Tagus", "no"], right), depth_trial(2, ["Tagus", "in Lisboa"], right)
    assert (one.questions, one.em, one.f1) == (2, 0.5, 0.5)
    # "in Lisboa" has precision 1/2 and recall 1
    assert (two.em, two.f1) == (0.5, pytest.approx((1 + 2 / 3) / 2))
    three = depth_trial(3, ["no", "Tagus"], right)
    assert best_depth([one, two, three]) == 2
    assert best_depth([depth_trial(5, ["Tagus", "no"], right), one]) == 1
