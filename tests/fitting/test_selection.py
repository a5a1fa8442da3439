from __future__ import annotations

from dataclasses import replace
from math import exp, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankrag.contract import Contract
from rankrag.data.sets import Judged
from rankrag.fitting.selection import (
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
from rankrag.rerank import Judgement
from rankrag.types import Passage, Question, ScoredPassage


def case(gold, first_stages, odds, cosines=None):
    """A question with these gold passages; a letter names a passage."""
    rankings = tuple(tuple(ScoredPassage(Passage(name, name), 0.0) for name in ids) for ids in first_stages)
    judged = {name: Judgement(value, 0.5) for name, value in odds.items()}
    return Case(Judged(Question("q", "?"), tuple(gold), {}), rankings, judged, cosines or {})


def test_the_grid_goes_from_the_papers_order_to_an_encoder_that_outweighs_it():
    assert (WEIGHTS[0], WEIGHTS[1], WEIGHTS[-1], len(WEIGHTS)) == (0.0, 1.0, 40.0, 41)


def test_a_trial_is_the_mean_loss_over_sources_and_their_first_stages():
    odds, near = {"a": 0.0, "b": 1.0}, {"a": 0.75, "b": 0.25}
    one, other = case("a", ["ab", "ba"], odds, near), case("b", ["ab"], odds, near)
    (both,), (left,), (right,) = (weight_trials(sources, [0.0]) for sources in ([[one], [other]], [[one]], [[other]]))
    assert both.loss == pytest.approx((left.loss + right.loss) / 2)
    # b leads by 1: where it is wrong the smallest scale is best, where it is right the largest.
    assert left.loss == pytest.approx(log(1 + exp(0.05)))
    assert right.loss == pytest.approx(log(1 + exp(-2)))


def test_the_loss_is_that_of_a_softmax_over_the_candidates_at_the_best_scale():
    one = case("a", ["abc"], {"a": 1.0, "b": 1.0, "c": -100.0}, {"a": 1.0, "b": 0.0, "c": 0.0})
    level, near = weight_trials([[one]], [0.0, 2.0])
    # a and b are alike and c is out at any scale: ln 2. Then a is ahead by 2, twice that at the largest scale.
    assert level.loss == pytest.approx(log(2), abs=1e-6)
    assert near.loss == pytest.approx(log(1 + exp(-4)), abs=1e-6)


def test_a_ranking_without_a_gold_passage_or_without_another_one_has_no_loss():
    cases = [case("x", ["a"], {"a": 0.0}, {"a": 1.0}), case("a", ["a"], {"a": 0.0}, {"a": 1.0})]
    (trial,) = weight_trials([cases], [0.0])
    assert trial.loss == 0.0


def test_without_an_encoder_there_is_no_weight_to_choose():
    one = case("a", ["ab"], {"a": 0.0, "b": 1.0})
    assert [trial.weight for trial in weight_trials([[one]])] == [0.0]


def test_a_question_without_candidates_does_not_stand_in_the_way():
    one = case("a", ["ab"], {"a": 0.0, "b": 1.0}, {"a": 1.0, "b": 0.0})
    found = weight_trials([[one, case("a", [""], {})]])
    assert len(found) == len(WEIGHTS)
    assert best_weight(found) > 0


def test_a_case_is_decided_as_the_pipeline_decides():
    one = case("a", ["abc"], {"a": 0.0, "b": 1.0, "c": -1.0}, {"a": 0.75, "b": 0.25, "c": 0.0})
    (candidates,) = one.first_stages
    contract = Contract(similarity_weight=4.0, abstain_below=0.5)
    decision = one.decision(candidates, contract, 2)
    assert [c.passage.id for c in decision.contexts] == ["a", "b"]
    assert not decision.withheld
    assert one.decision(candidates, replace(contract, abstain_below=1.5), 2).withheld


def test_the_best_weight_has_the_least_loss_and_is_the_smaller_of_equals():
    assert best_weight([WeightTrial(0, 0.5), WeightTrial(1, 0.4)]) == 1
    assert best_weight([WeightTrial(0, 0.5), WeightTrial(1, 0.5 - 1e-12)]) == 0


def threshold(answerable, unanswerable, **more):
    """Return the threshold of questions that count once each."""
    return best_threshold(*([(odds, 1.0) for odds in values] for values in (answerable, unanswerable)), **more)


def test_the_threshold_separates_what_can_be_separated():
    assert threshold([2.0, 3.0], [-1.0, 0.0]) == Threshold(1.0, 1.0, 0.0)


def test_the_threshold_refuses_few_answerable_ones():
    answerable = [0.0] + [10.0] * 24
    # Below 5 all unanswerable ones are refused, and 1 of 25 answerable ones: 4 %, which is allowed.
    assert threshold(answerable, [-2.0, -1.0, 0.5, 1.0]) == Threshold(5.5, 1.0, pytest.approx(0.04))
    # One more makes it 2 of 26, so only what lies below both of them is refused.
    assert threshold([0.0, *answerable], [-2.0, -1.0, 0.5, 1.0]) == Threshold(-0.5, 0.5, 0.0)


def test_a_question_counts_as_often_as_its_source_says():
    rare, often = [(0.0, 1.0)], [(0.0, 30.0)]
    known = [(10.0, 1.0)] * 24
    assert best_threshold([*rare, *known], [(0.5, 1.0)]) == Threshold(5.25, 1.0, pytest.approx(0.04))
    assert best_threshold([*often, *known], [(0.5, 1.0)]) == Threshold(None, 0.0, 0.0)


def test_of_equal_thresholds_the_lowest_is_taken():
    # Refusing 1.0 as well gains half of the one and costs half of the other.
    assert threshold([1.0, 3.0], [0.0, 2.0], at_most=1.0) == Threshold(0.5, 0.5, 0.0)


def test_nothing_is_withheld_where_no_threshold_helps():
    assert threshold([0.0, 1.0], [2.0, 3.0]) == Threshold(None, 0.0, 0.0)
    assert threshold([], []) == Threshold(None, 0.0, 0.0)
    assert threshold([0.0, 1.0], []) == Threshold(None, 0.0, 0.0)


def answered(*answers, counts=1.0):
    return Case(Judged(Question("q", "?", answers=answers), (), {}), (), {}, counts=counts)


def test_the_depth_with_the_best_f1_is_taken_and_the_smaller_of_equals():
    right = [answered("the Tagus"), answered("Lisbon", "Lisboa")]
    one, two = depth_trial(1, ["Tagus", "no"], right), depth_trial(2, ["Tagus", "in Lisboa"], right)
    assert (one.questions, one.em, one.f1) == (2, 0.5, 0.5)
    # "in Lisboa" has precision 1/2 and recall 1
    assert (two.em, two.f1) == (0.5, pytest.approx((1 + 2 / 3) / 2))
    assert depth_trial(1, ["Tagus", "no"], [answered("Tagus", counts=3.0), right[1]]).em == 0.75
    three = depth_trial(3, ["no", "Tagus"], right)
    assert best_depth([one, two, three]) == 2
    assert best_depth([depth_trial(5, ["Tagus", "no"], right), one]) == 1


@given(st.lists(st.floats(-9, 9), max_size=8), st.lists(st.floats(-9, 9), max_size=8))
def test_the_shares_are_those_that_decide_withholds(answerable, unanswerable):
    found = threshold(answerable, unanswerable)
    contract = Contract(abstain_below=found.below)
    for odds, share in ((answerable, found.answerable_refused), (unanswerable, found.unanswerable_refused)):
        cases = [case("a", ["a"], {"a": value}) for value in odds]
        withheld = [one.decision(one.first_stages[0], contract, 1).withheld for one in cases]
        assert share == (pytest.approx(sum(withheld) / len(withheld)) if withheld else 0.0)
