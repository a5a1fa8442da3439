from __future__ import annotations

import pytest

from rankrag.data.files import write_rows
from rankrag.data.runs import read_run, run_row, trec_lines
from rankrag.errors import DataError
from rankrag.types import Passage, Question, ScoredPassage

QUESTIONS = {"q 1": Question("q 1", "Which river?"), "q2": Question("q2", "Which sea?")}
RANKING = (ScoredPassage(Passage("d 1", "x"), 2.0), ScoredPassage(Passage("d%2", "y"), -1.5))


def test_a_run_goes_out_in_trecs_form_and_comes_back(tmp_path):
    path = tmp_path / "run.trec"
    path.write_text("\n".join(line for q in QUESTIONS.values() for line in trec_lines(run_row(q, RANKING))))
    assert path.read_text().splitlines()[0] == "q%201 Q0 d%201 1 2.000000 rankrag"
    found = list(read_run(path, QUESTIONS, {"d 1", "d%2"}))
    assert [(r.question.id, r.ids, r.scores) for r in found] == [(q, ("d 1", "d%2"), (2.0, -1.5)) for q in QUESTIONS]


def test_passages_come_by_rank_not_by_line(tmp_path):
    path = tmp_path / "run.trec"
    path.write_text("q2 Q0 b 2 1 x\nq2 Q0 a 1 2 x\n")
    assert next(read_run(path, QUESTIONS)).ids == ("a", "b")


def test_all_mistakes_of_a_trec_run_are_told_with_their_lines(tmp_path):
    path = tmp_path / "run.trec"
    path.write_text("q2 Q0 a 1 nan x\nq2 Q0 a 2 1 x\nq2 Q0 gone 3 1 x\nq3 Q0 a 1 1 x\nq2 Q0\n")
    with pytest.raises(DataError) as error:
        list(read_run(path, QUESTIONS, {"a"}))
    told = str(error.value)
    assert f"{path}:1: the score of passage 'a' is not a number" in told
    assert f"{path}:2: passage 'a' stands twice for question 'q2'" in told
    assert f"{path}:3: passage 'gone' is not among the passages" in told
    assert f"{path}:4: question 'q3' is not in the file of questions" in told
    assert f"{path}:5: not 'question Q0 passage rank score tag'" in told


def test_a_run_of_rows_is_checked_alike(tmp_path):
    path = tmp_path / "run.jsonl"
    rows = [run_row(q, RANKING) for q in QUESTIONS.values()]
    rows[0]["ranking"][0]["score"] = float("nan")
    write_rows(path, [*rows, {"id": "q3"}])
    with pytest.raises(DataError, match=r"run\.jsonl:3: no run.*run\.jsonl:1: the score of passage 'd 1' is not a"):
        list(read_run(path, {}))
    write_rows(path, rows[1:])
    assert next(read_run(path, {})).ids == ("d 1", "d%2")
    with pytest.raises(DataError, match=r"run\.jsonl:1: passage 'd%2' is not among the passages"):
        list(read_run(path, {}, {"d 1"}))


def test_a_question_that_failed_is_passed_over(tmp_path):
    path = tmp_path / "run.jsonl"
    good = {"id": "q1", "question": "x", "ranking": [{"id": "p", "score": 1.0}]}
    write_rows(path, [{"id": "q2", "question": "y", "error": "too long"}, good])
    assert [ranked.question.id for ranked in read_run(path, {})] == ["q1"]
