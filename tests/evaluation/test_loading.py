from __future__ import annotations

from dataclasses import replace

import pytest

from rankrag.errors import ConfigError, DataError
from rankrag.evaluation.benchmarks import folder_name
from rankrag.evaluation.catalogue import BENCHMARKS
from rankrag.evaluation.loading import load
from rankrag.jsonl import write_rows


def test_a_set_has_its_questions_and_all_passages(loaded):
    squad = loaded("squad")
    assert [(q.question.id, q.gold, dict(q.grades)) for q in squad.questions] == [
        ("q1", ("s/tagus/0",), {"s/tagus/0": 1}),
        ("q2", ("s/ebro/0",), {"s/ebro/0": 1}),
    ]
    assert len(squad.passages) == 6
    assert squad.questions[0].question.answers == ("golden land",)


def test_own_candidates_are_given_and_questions_without_gold_are_left_out(loaded):
    (only,) = loaded("msmarco").questions
    assert only.given == ("m1/c0", "m1/c1", "m1/c2")
    assert only.gold == ("m1/c2",)


def test_trec_keeps_grades_and_the_given_ranking(loaded):
    (only,) = loaded("trec_dl19").questions
    assert (only.gold, dict(only.grades), only.given) == (("2",), {"1": 1, "2": 3}, ("1", "3", "2"))


def test_an_unanswerable_question_has_its_near_paragraph_for_gold(loaded):
    assert [q.gold for q in loaded("squad2_unanswerable").questions] == [("s/lake/0",), ("s/hill/0",)]


def test_missing_files_are_all_listed(tmp_path):
    with pytest.raises(ConfigError, match=r"squad\.dev\.jsonl\.zst, .*squad\.corpus\.jsonl\.zst; set RANKRAG_DATA"):
        load(BENCHMARKS["squad"], tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "q"}, r":1: no 'id' with 'question' or 'query' \(found: id\)"),
        ({"id": "q", "question": "x", "positive_ids": ["gone"]}, "passage 'gone' is in none of"),
        ({"id": "q", "question": "x", "candidates": ["text"]}, "candidate 0 has no 'text'"),
    ],
)
def test_a_bad_row_is_named(data, row, message):
    write_rows(data / "squad/squad.dev.jsonl.zst", [row])
    with pytest.raises(DataError, match=message):
        load(BENCHMARKS["squad"], data)


def test_a_sample_is_seeded_and_keeps_the_order_of_the_set(loaded):
    squad = loaded("squad")
    many = replace(squad, questions=tuple(replace(squad.questions[0], gold=(str(i),)) for i in range(50)))
    drawn = many.sample(10, seed=1)
    places = [int(q.gold[0]) for q in drawn]
    assert places == sorted(places)
    assert drawn == many.sample(10, seed=1) != many.sample(10, seed=2)
    assert all(q in many.sample(25, seed=1) for q in drawn)
    assert many.sample(None, seed=1) == many.sample(99, seed=1) == many.questions


def test_the_folder_of_a_set_changes_with_its_data(loaded):
    squad = loaded("squad")
    other = replace(squad, questions=squad.questions[:1])
    assert folder_name(squad) == folder_name(loaded("squad")) != folder_name(other)
    assert folder_name(squad).startswith("squad-")
