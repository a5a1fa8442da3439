from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import TypeAdapter

from rankrag.data.catalogue import BENCHMARKS
from rankrag.data.files import write_rows
from rankrag.data.load import load_set
from rankrag.data.sets import Origin, folder_name
from rankrag.errors import ConfigError, DataError
from tests.data.own_sets import PASSAGES, passage_rows
from tests.data.published import write_json


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
        load_set(BENCHMARKS["squad"], tmp_path)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"id": "q", "question": " "}, "the question is empty"),
        ({"id": "q", "question": "x", "answers": "y"}, r":1: 'answers' must be a list of texts \(found: 'y'\)"),
        ({"id": "q", "question": "x", "answers": ["y", 1]}, "'answers' must be a list of texts"),
        ({"id": "q", "question": "x", "positive_ids": "s/tagus/0"}, "'positive_ids' must be a list of ids"),
        (
            {"id": "q", "question": "x", "grades": {"s/tagus/0": 0.5}},
            "'grades': grades must be whole numbers",
        ),
        ({"id": "q", "question": "x", "candidates": "text"}, "'candidates' must be a list of passages"),
        ({"id": "q"}, r":1: no question, it needs 'question' or 'query' \(found: id\)"),
        ({"id": "q", "question": "x", "answers": ["y"], "positive_ids": ["gone"]}, "passage 'gone' is in none of"),
        ({"id": "q", "question": "x", "candidates": [5]}, "candidate 0 must be a text or an object with 'text'"),
        (
            {"id": "q", "question": "x", "candidates": [{"title": ""}]},
            "candidate 0: no passage",
        ),
        ({"id": "q", "question": "x", "answer": "y"}, r":1: no 'answers' \(found: answer, id, question\)"),
    ],
)
def test_a_bad_row_is_named(data, row, message):
    write_rows(data / "squad/squad.dev.jsonl.zst", [row])
    with pytest.raises(DataError, match=message):
        load_set(BENCHMARKS["squad"], data)


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


def test_all_mistakes_of_a_file_are_told_with_their_lines(data):
    good = {"id": "q", "question": "x", "answers": ["y"], "positive_ids": ["s/tagus/0"]}
    write_rows(data / "squad/squad.dev.jsonl.zst", [good, {"id": "r"}, good, {**good, "id": "s", "answers": 1}])
    with pytest.raises(DataError) as error:
        load_set(BENCHMARKS["squad"], data)
    told = str(error.value)
    assert ":2: no question" in told
    assert ":3: id 'q' stands in" in told
    assert ":4: 'answers' must be a list" in told
    write_rows(data / "squad/squad.dev.jsonl.zst", [{"id": str(i)} for i in range(30)])
    with pytest.raises(DataError, match=r":20: .*; and 10 more$"):
        load_set(BENCHMARKS["squad"], data)


def test_all_mistakes_of_a_corpus_are_told_with_their_lines(data):
    rows = [
        {"id": "s/tagus/0", "text": "x"},
        {"id": "a"},
        {"id": "s/ebro/0", "text": "y"},
        {"id": "s/ebro/0", "text": "z"},
    ]
    write_rows(data / "squad/squad.corpus.jsonl.zst", rows)
    with pytest.raises(DataError, match=r":2: no passage.*:4: id 's/ebro/0' stands in .*:3 already"):
        load_set(BENCHMARKS["squad"], data)


def test_two_corpora_may_not_give_one_id_to_two_passages(tmp_path):
    nq = BENCHMARKS["nq"]
    write_rows(tmp_path / nq.rows, [{"id": "q", "question": "x", "answers": ["y"], "positive_ids": ["a"]}])
    for name, text in zip(nq.corpora, "xy", strict=True):
        write_rows(tmp_path / name, [{"id": "a", "text": text}])
    with pytest.raises(DataError, match="passage 'a' differs in an earlier corpus"):
        load_set(nq, tmp_path)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"options": {"B": "no", "A": "yes"}}, r":1: the options must be lettered A, B, … in order \(found: B, A\)"),
        ({"options": {"A": "yes"}}, "the options must be lettered"),
        ({"options": ["yes", "no"]}, "'options' must be texts by letter"),
        ({"options": {"A": "yes", "B": 5}}, "'options' must be texts by letter"),
        ({"label": "C"}, r"the right option must be one of A, B \(found: 'C'\)"),
        ({"label": None}, "the right option must be one of A, B"),
    ],
)
def test_options_out_of_order_and_wrong_labels_are_told(tmp_path, changed, message):
    row = {"id": "1", "question": "Is it?", "options": {"A": "yes", "B": "no"}, "label": "A", "positive_ids": ["p"]}
    write_rows(tmp_path / "biomedical/pubmedqa.corpus.jsonl.zst", [{"id": "p", "text": "x"}])
    write_rows(tmp_path / "biomedical/pubmedqa.test.jsonl.zst", [row])
    question = load_set(BENCHMARKS["pubmedqa"], tmp_path).questions[0].question
    assert (question.options, question.answers) == (("yes", "no"), ("A",))
    write_rows(tmp_path / "biomedical/pubmedqa.test.jsonl.zst", [{**row, **changed}])
    with pytest.raises(DataError, match=message):
        load_set(BENCHMARKS["pubmedqa"], tmp_path)


def test_questions_that_cannot_be_measured_are_counted(data):
    left_out = load_set(BENCHMARKS["msmarco"], data).left_out
    assert left_out == {"no passage is known to be right": 1}


def test_given_evidence_is_not_retrieved(tmp_path):
    write_rows(tmp_path / "openqa/fever_symmetric.corpus.jsonl.zst", [{"id": i, "text": i} for i in ("s0", "s1")])
    row = {"question": "A claim.", "options": {"A": "SUPPORTS", "B": "REFUTES"}, "label": "B", "answers": ["REFUTES"]}
    write_rows(tmp_path / "openqa/fever_symmetric.dev.jsonl.zst", [{"id": "f", "positive_ids": ["s1"], **row}])
    found = load_set(BENCHMARKS["fever_symmetric"], tmp_path)
    assert (found.questions[0].given, found.ranked, found.searchable) == (("s1",), True, False)
    assert (found.questions[0].question.style, found.questions[0].question.answers) == ("claim", ("REFUTES",))
    assert found.questions[0].question.options == ()


def test_a_frozen_run_that_names_an_unknown_passage_says_where(data):
    (data / "runs").mkdir()
    (data / "runs/squad.trec").write_text("q1 Q0 s/tagus/0 1 2 x\nq2 Q0 gone 1 2 x\n")
    write_rows(data / "runs/squad.passages.jsonl", [{"id": "s/tagus/0", "text": "x"}])
    with pytest.raises(DataError, match=r"squad\.trec:2: passage 'gone' is not among the passages"):
        load_set(BENCHMARKS["squad"], data)
    (data / "runs/squad.trec").write_text("q1 Q0 s/tagus/0 1 2 x\n")
    frozen = load_set(BENCHMARKS["squad"], data)
    assert [of.given for of in frozen.questions] == [("s/tagus/0",), ()]  # what a run lacks was not found


def test_a_set_without_a_question_is_an_error(data):
    write_rows(data / "squad/squad.dev.jsonl.zst", [])
    with pytest.raises(DataError, match="no question; get the file again"):
        load_set(BENCHMARKS["squad"], data)


def test_a_frozen_run_that_lacks_questions_is_told(data):
    write_rows(data / "runs/squad.passages.jsonl", passage_rows(PASSAGES))
    (data / "runs/squad.trec").write_text("q1 Q0 s/tagus/0 1 1 x\n")
    assert load_set(BENCHMARKS["squad"], data).unranked == 1
    origin = Origin("bm25", None, "last", "some passages", 100, 1, "0.1.0")
    (data / "runs/squad.json").write_bytes(TypeAdapter(Origin).dump_json(origin))
    with pytest.raises(DataError, match=r"squad\.trec: made for 1 questions, SQuAD has 2; freeze it again"):
        load_set(BENCHMARKS["squad"], data)
    (data / "runs/squad.json").write_text("{}")
    with pytest.raises(DataError, match=r"squad\.json: does not say how squad\.trec was made"):
        load_set(BENCHMARKS["squad"], data)


def test_a_question_without_any_right_answer_is_left_out_and_counted(data):
    rows = [{"id": str(i), "question": "x", "answers": answers} for i, answers in enumerate((["y"], []))]
    write_rows(data / "squad/squad.dev.jsonl.zst", [{**row, "positive_ids": ["s/tagus/0"]} for row in rows])
    for passages in (True, False):
        squad = load_set(BENCHMARKS["squad"], data, passages=passages)
        assert [of.question.id for of in squad.questions] == ["0"]
        assert squad.left_out == {"no answer is known to be right": 1}


def test_a_question_that_came_without_passages_does_not_reorder_the_others(tmp_path):
    turns = [{"role": "user", "content": "beer"}]
    found = [{"title": "", "text": "wine"}, {"title": "", "text": "beer"}]
    rows = [{"messages": turns, "ctxs": ctxs, "answers": ["x"]} for ctxs in (found, [])]
    write_json(tmp_path / "chatrag/topiocqa/dev.json", rows)
    talks = load_set(BENCHMARKS["topiocqa-chatrag"], tmp_path)
    assert talks.ranked
    assert [len(of.given) for of in talks.questions] == [2, 0]
