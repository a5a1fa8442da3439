from __future__ import annotations

from dataclasses import replace
from math import log2

import pytest

from rankrag.data.catalogue import BENCHMARKS
from rankrag.data.sets import Judged, TestSet
from rankrag.evaluation import metrics
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


def test_replies_are_scored_by_the_metrics_that_their_set_names():
    assert metrics.answer_scores(BENCHMARKS["squad"], "the red fox", ["red fox", "blue"]) == {
        "EM": 1,
        "F1": 1,
        "Acc": 1,
    }
    assert metrics.answer_scores(BENCHMARKS["pubmedqa"], "no idea", ["A"]) == {
        "MIRAGE accuracy": 1,
        "MIRAGE strict": 0,
        "MIRAGE parsed": 0,
    }


def test_a_metric_is_added_in_one_place(monkeypatch):
    monkeypatch.setattr(metrics, "ANSWER_METRICS", dict(metrics.ANSWER_METRICS))
    monkeypatch.setattr(metrics, "_EVERY_SET", [])
    metrics.answer_metric("words", every_set=True)(lambda reply, answers: float(len(reply.split())))
    assert metrics.answer_scores(BENCHMARKS["squad"], "the red fox", [])["words"] == 3.0
    assert metrics.answer_scores(BENCHMARKS["pubmedqa"], "B", [])["words"] == 1.0


@pytest.mark.parametrize("reply", ["", " ", "word " * 10_000])
def test_a_reply_of_nothing_or_of_ten_thousand_words_has_a_figure_of_its_own(reply):
    assert {name: metric(reply, ["B"]) for name, metric in metrics.ANSWER_METRICS.items()} == dict.fromkeys(
        metrics.ANSWER_METRICS, 0.0
    )


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
    ideal = 3 + 2 / log2(3) + 1 / log2(4)
    found = metrics.ndcg_at_10(["b", "x", "a"], {"a": 3, "b": 1, "c": 2})
    assert found == pytest.approx((1 + 3 / log2(4)) / ideal)
    assert metrics.ndcg_at_10([], {"a": 1}) == 0.0
    assert metrics.ndcg_at_10(["a"], {}) == 0.0


def test_a_ranking_has_the_metrics_that_its_set_shows():
    judged = Judged(Question("q", "?", answers=("Red Fox",)), ("b", "c"), {"b": 1, "c": 1})
    passages = {"a": Passage("a", "a hen"), "b": Passage("b", "it ran", "The red fox"), "c": Passage("c", "a den")}
    hotpotqa = TestSet(BENCHMARKS["hotpotqa"], (judged,), passages)
    found = metrics.ranking_scores(hotpotqa, judged, ["b", "a", "c"])
    assert found["R@1"] == 0.5
    assert found["all-gold@5"] == 1.0
    assert found["NDCG@10"] == pytest.approx(1.5 / (1 + 1 / log2(3)))
    assert found["answer-recall@5"] == 1.0
    assert "hit@1" not in found
    msmarco = TestSet(BENCHMARKS["msmarco"], (judged,), passages)
    found = metrics.ranking_scores(msmarco, judged, ["a", "b"])
    assert found["hit@1"] == 0.0
    assert found["RR"] == 0.5
    assert "answer-recall@5" not in found


def test_recall_of_answers_reads_titles_but_not_by_the_rule_of_dpr():
    judged = Judged(Question("q", "?", answers=("Red Fox",)), (), {})
    passages = {"b": Passage("b", "it ran", "The red fox")}
    values = [
        metrics.RANKING_METRICS[name](["b"], judged, passages) for name in ("answer-recall@5", "answer-recall-dpr@5")
    ]
    assert values == [1.0, 0.0]


def test_the_perfect_order_of_answers_puts_a_passage_with_one_first():
    judged = Judged(Question("q", "?", answers=("Red Fox",)), (), {})
    passages = {str(i): Passage(str(i), "a hen") for i in range(6)} | {"6": Passage("6", "the red fox")}
    found = TestSet(replace(BENCHMARKS["nq-kilt"]), (judged,), passages)
    assert metrics.reachable(found, judged, tuple(passages)) == 1.0
    assert metrics.reachable(found, judged, tuple(passages)[:6]) == 0.0


def test_the_best_order_of_the_candidates_is_by_grade():
    grades = {"c": 2, "b": 1, "z": 3}
    found = TestSet(BENCHMARKS["trec_dl19"], (), {})
    best = metrics.reachable(found, Judged(Question("q", "?"), ("c",), grades), ("a", "b", "c", "d"))
    assert best == metrics.ndcg_at_10(["c", "b", "a", "d"], grades)
    assert best < 1.0  # z was not found


def test_a_choice_may_have_more_than_four_options():
    benchmark = replace(BENCHMARKS["pubmedqa"], answer_metrics=("MIRAGE accuracy", "MIRAGE strict"))
    right = {"MIRAGE accuracy": 1.0, "MIRAGE strict": 1.0}
    assert metrics.answer_scores(benchmark, "E. five", ["E"], tuple("ABCDE")) == right
    assert metrics.answer_scores(benchmark, "E. five", ["A"], tuple("ABCDE")) == dict.fromkeys(right, 0.0)
    assert metrics.answer_scores(benchmark, "Answer: E", ["A"], tuple("ABCD"))["MIRAGE accuracy"] == 1.0  # MIRAGE's A


def test_every_metric_of_a_declared_set_is_known():
    for benchmark in BENCHMARKS.values():
        assert set(benchmark.answer_metrics) <= set(metrics.ANSWER_METRICS)
        assert benchmark.metric is None or benchmark.metric in metrics.RANKING_METRICS
