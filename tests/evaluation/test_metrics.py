from __future__ import annotations

import sys
from itertools import product
from math import log2

import pytest

from rankrag.data.sets import Judged
from rankrag.errors import MissingExtraError
from rankrag.evaluation import metrics
from rankrag.evaluation.metrics import Interval
from rankrag.evaluation.statistics import permutation_p
from rankrag.types import Passage, Question


def test_exact_match_ignores_case_articles_and_punctuation():
    assert metrics.exact_match("The Tagus.", ["Ebro", "tagus"]) == 1
    assert metrics.exact_match("Tagus river", ["tagus"]) == 0
    assert metrics.exact_match("tagus", []) == 0


def test_f1_counts_common_words_against_the_best_answer():
    assert metrics.token_f1("the red fox jumps", ["blue", "red fox"]) == pytest.approx(2 * 2 / (3 + 2))
    assert metrics.token_f1("red", ["blue"]) == 0
    assert metrics.token_f1("red", []) == 0


def test_f1_of_nothing_is_one_only_against_nothing():
    assert metrics.token_f1("the", ["a"]) == 1
    assert metrics.token_f1("", ["red"]) == 0


def test_contains_answer_wants_the_answer_letter_for_letter():
    assert metrics.contains_answer("It is the red fox.", ["red fox"]) == 1
    assert metrics.contains_answer("It is the red fox.", ["Red fox", ""]) == 0
    assert metrics.contains_answer("fox red", ["red fox"]) == 0


def test_replies_are_scored_by_the_names_of_the_report():
    assert metrics.answer_scores(("EM", "F1", "Acc"), "the red fox", ["red fox", "blue"]) == {
        "EM": 1,
        "F1": 1,
        "Acc": 1,
    }
    assert metrics.answer_scores(("MIRAGE accuracy", "MIRAGE strict", "MIRAGE parsed"), "no idea", ["A"]) == {
        "MIRAGE accuracy": 1,
        "MIRAGE strict": 0,
        "MIRAGE parsed": 0,
    }


@pytest.mark.parametrize("reply", ["", " ", "word " * 10_000])
def test_a_reply_of_nothing_or_of_ten_thousand_words_has_a_figure_of_its_own(reply):
    scores = metrics.answer_scores(tuple(metrics.ANSWER_METRICS), reply, ["B"])
    assert scores == dict.fromkeys(metrics.ANSWER_METRICS, 0.0)


def test_rankings_are_measured_against_gold_passages():
    ids = ["a", "b", "c", "d", "e", "f"]
    assert metrics.recall_at(ids, ["b", "f"], 5) == 0.5
    assert metrics.recall_at(ids, [], 5) == 0
    assert metrics.all_gold_at(ids, ["b", "e"], 5) == 1
    assert metrics.all_gold_at(ids, ["b", "f"], 5) == 0
    assert metrics.all_gold_at(ids, [], 5) == 0
    assert metrics.hit_at(ids, ["z", "a"], 1) == 1
    assert metrics.hit_at(ids, ["b"], 1) == 0
    assert metrics.reciprocal_rank(ids, ["c", "d"]) == pytest.approx(1 / 3)
    assert metrics.reciprocal_rank(ids, ["z"]) == 0


def test_ndcg_has_linear_gains_and_the_ideal_of_all_graded_passages():
    found = metrics.ndcg_at_10([["b", "x", "a"], []], [{"a": 3, "b": 1, "c": 2}, {"a": 1}])
    ideal = 3 + 2 / log2(3) + 1 / log2(4)
    assert found == [pytest.approx((1 + 3 / log2(4)) / ideal), 0.0]


def test_ndcg_names_the_extra_when_ir_measures_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    with pytest.raises(MissingExtraError, match=r"rankrag\[evaluation\]"):
        metrics.ndcg_at_10([["a"]], [{"a": 1}])


def test_a_metric_is_found_by_its_name():
    judged = [Judged(Question("q", "?"), ("b", "c"), {"b": 1, "c": 1})]
    values = {name: metrics.measure(name, [["b", "x", "c"]], judged)[0] for name in ("R@1", "all-gold@5", "hit@1")}
    assert values == {"R@1": 0.5, "all-gold@5": 1.0, "hit@1": 1.0}
    assert metrics.measure("NDCG@10", [["b", "x", "c"]], judged) == [pytest.approx(1.5 / (1 + 1 / log2(3)))]


def test_a_metric_of_answers_reads_the_passages():
    judged = [Judged(Question("q", "?", answers=("Red Fox",)), (), {})]
    passages = {"a": Passage("a", "a hen"), "b": Passage("b", "it ran", "The red fox")}
    names = ("answer-recall@5", "answer-recall-dpr@5")
    values = [metrics.measure(name, [["a", "b"]], judged, passages) for name in names]
    assert values == [[1.0], [0.0]]  # DPR's rule does not read titles
    assert metrics.measure("RR", [["a", "b"]], [Judged(judged[0].question, ("b",), {})]) == [0.5]


def test_the_best_order_is_by_grade_and_keeps_ties():
    assert metrics.best_order(["a", "b", "c", "d"], {"c": 2, "b": 1, "z": 3}) == ["c", "b", "a", "d"]


def test_the_gap_closed_is_a_share_of_what_can_be_reached():
    assert metrics.gap_closed(0.5, 0.6, 0.9) == pytest.approx(0.25)
    assert metrics.gap_closed(0.5, 0.4, 0.9) == pytest.approx(-0.25)
    assert metrics.gap_closed(0.9, 0.9, 0.9) is None


def test_an_interval_holds_the_mean_and_shrinks_to_it_without_variance():
    assert metrics.bootstrap_interval([0.5] * 4) == Interval(0.5, 0.5, 0.5)
    wide = metrics.bootstrap_interval([0.0, 1.0] * 50)
    assert wide.mean == 0.5
    # Half-width of a mean of 100 coin tosses: 1.96 * 0.5 / 10.
    assert wide.low == pytest.approx(0.402, abs=0.02)
    assert wide.high == pytest.approx(0.598, abs=0.02)
    assert wide == metrics.bootstrap_interval([0.0, 1.0] * 50)
    assert str(Interval(0.5, 0.25, 0.75)) == "0.500 [0.250, 0.750]"


def test_a_difference_is_paired_by_question():
    assert metrics.paired_difference([1.0, 0.5], [0.5, 0.0]) == Interval(0.5, 0.5, 0.5)


def test_the_gap_has_an_interval_and_none_without_a_gap():
    found = metrics.gap_interval([0, 0, 1, 1], [1, 0, 1, 1], [1, 1, 1, 1])
    assert found is not None
    assert found.mean == 0.5
    assert (found.low, found.high) == (0.0, 1.0)
    assert metrics.gap_interval([1, 1], [1, 0], [1, 1]) is None


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
