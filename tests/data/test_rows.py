from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from rankrag.data.examples import read_examples, write_examples
from rankrag.data.files import STDIN, read_rows, write_rows
from rankrag.data.rows import parse_history, parse_question, read_passages, read_questions
from rankrag.data.runs import answer_row
from rankrag.errors import DataError
from rankrag.types import (
    Answer,
    Citation,
    DataKind,
    Example,
    Message,
    Passage,
    Question,
    ScoredPassage,
    SecondRound,
    Source,
    Timings,
)


def lines(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.zst"])
def test_rows_come_back_as_they_were_written(tmp_path, name):
    rows = [{"id": "ä", "n": 1}, {"text": "line\nbreak\u2028"}]
    assert write_rows(tmp_path / "new" / name, rows) == 2
    assert [row for _, row in read_rows(tmp_path / "new" / name)] == rows


def test_writing_no_rows_gives_an_empty_file(tmp_path):
    assert write_rows(tmp_path / "rows.jsonl", []) == 0
    assert list(read_rows(tmp_path / "rows.jsonl")) == []


def test_a_failed_write_leaves_the_old_file_and_no_partial(tmp_path):
    path = lines(tmp_path, '{"old": 1}')
    with pytest.raises(TypeError):
        write_rows(path, [{"new": 1}, {"not json": object()}])
    assert list(read_rows(path)) == [(f"{path}:1", {"old": 1})]
    assert [p.name for p in tmp_path.iterdir()] == ["rows.jsonl"]


def test_empty_lines_are_passed_over_and_numbers_kept(tmp_path):
    path = lines(tmp_path, "", '{"a": 1}')
    assert list(read_rows(path)) == [(f"{path}:2", {"a": 1})]


def test_a_byte_order_mark_is_passed_over(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n')
    assert list(read_rows(path)) == [(f"{path}:1", {"a": 1})]


def test_rows_are_read_from_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO('{"a": 1}\n'))
    assert list(read_rows(STDIN)) == [("-:1", {"a": 1})]


@pytest.mark.parametrize(("line", "problem"), [("{oops", "not JSON"), ("[1]", "holds list")])
def test_a_bad_line_is_named(tmp_path, line, problem):
    with pytest.raises(DataError, match=rf"rows.jsonl:2: {problem}"):
        list(read_rows(lines(tmp_path, "{}", line)))


def test_bad_rows_can_be_told_and_passed_over(tmp_path):
    told = []
    assert [where[-2:] for where, _ in read_rows(lines(tmp_path, "oops", "{}"), told.append)] == [":2"]
    assert "rows.jsonl:1" in str(told[0])


def test_a_missing_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match=r"none.jsonl: cannot be read \(No such file"):
        list(read_rows(tmp_path / "none.jsonl"))


def test_a_file_that_is_not_utf_8_is_a_data_error(tmp_path):
    path = tmp_path / "latin.jsonl"
    path.write_bytes('{"a": "ä"}\n'.encode("latin-1"))
    with pytest.raises(DataError, match="not UTF-8"):
        list(read_rows(path))


def test_a_damaged_compressed_file_is_a_data_error(tmp_path):
    path = tmp_path / "rows.jsonl.zst"
    path.write_bytes(b"this is not zstandard")
    with pytest.raises(DataError, match="cannot be read"):
        list(read_rows(path))


def test_passages_are_read_in_our_form_and_in_beirs(tmp_path):
    path = lines(tmp_path, '{"id": 1, "text": "a"}', '{"_id": "b", "text": "c", "title": "T"}')
    assert list(read_passages(path)) == [Passage("1", "a"), Passage("b", "c", "T")]


def test_a_row_that_is_no_passage_says_what_was_found(tmp_path):
    with pytest.raises(DataError, match=r"rows.jsonl:1: no passage.*found: body, id"):
        list(read_passages(lines(tmp_path, '{"id": 1, "body": "a"}')))


@pytest.mark.parametrize("key", ["question", "query", "text"])
def test_a_question_is_read_under_each_of_its_names(key):
    assert parse_question({"id": "1", key: "who?"}, "here") == Question("1", "who?")


def test_a_question_without_an_id_is_its_own_id():
    assert parse_question({"question": "who?"}, "here").id == "who?"


def test_a_question_after_turns_is_a_conversation():
    row = {"question": "and then?", "history": [{"role": "agent", "content": "hello"}]}
    question = parse_question(row, "here")
    assert question.style == "conversation"
    assert question.history == (Message("assistant", "hello"),)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({}, "no question.*found: nothing"),
        ({"question": "  "}, "empty"),
        ({"question": "q", "answers": "a"}, "'answers' must be a list"),
        ({"question": "q", "answers": [1]}, "'answers' must be a list"),
        ({"question": "q", "style": "loud"}, "style 'loud' is not known"),
        ({"question": "q", "history": "hello"}, "'history' must be a list"),
    ],
)
def test_a_row_that_is_no_question_says_why(row, problem):
    with pytest.raises(DataError, match=f"^here: {problem}|^here:.*{problem}"):
        parse_question(row, "here")


@pytest.mark.parametrize("turn", ["hello", {"role": "king", "content": "x"}, {"role": "user", "content": 1}])
def test_a_bad_turn_is_named_by_its_place(turn):
    with pytest.raises(DataError, match="here: turn 1 of 'history'"):
        parse_history([{"role": "user", "content": "x"}, turn], "here")


def test_an_id_that_stands_twice_is_a_data_error(tmp_path):
    path = lines(tmp_path, '{"id": "1", "question": "a"}', '{"id": "1", "question": "b"}')
    with pytest.raises(DataError, match=r"rows.jsonl:2: id '1' stands in .*rows.jsonl:1 already"):
        list(read_questions(path))


def test_an_answer_row_is_json_and_names_the_cited_passage():
    found = (ScoredPassage(Passage("p", "text", "T", Source("f.md", page=2)), 1.5),)
    question = Question("q", "who?", history=(Message("user", "hi"),))
    answer = Answer(
        question, "Ada.", False, (Citation(0, 4, 0),), found, found, found, Timings(0.1, 0.2, 0.3), {"p": 0.75}
    )
    row = json.loads(json.dumps(answer_row(answer)))
    assert row["citations"] == [{"start": 0, "end": 4, "context": 0, "id": "p"}]
    assert row["reranked"][0]["relevance"] == 0.75
    assert "relevance" not in row["retrieved"][0]
    assert row["contexts"][0]["source"]["page"] == 2
    assert row["history"] == [{"role": "user", "content": "hi"}]
    assert answer.cited == (found[0].passage,)


def test_an_answer_row_says_which_round_found_a_passage_if_there_were_two():
    found = tuple(ScoredPassage(Passage(name, "text"), 1.0) for name in ("one", "two"))
    answer = Answer(Question("q", "who?"), "Ada.", False, (), found, found, found, Timings(0.1, 0.2, 0.3))
    assert "round" not in answer_row(answer)["retrieved"][0]
    row = answer_row(replace(answer, second_round=SecondRound(("Ada",), frozenset({"two"}))))
    assert [passage["round"] for passage in row["retrieved"]] == [1, 2]
    assert row["second_queries"] == ["Ada"]


def test_a_source_reads_as_file_page_and_heading():
    assert str(Source("f.pdf", page=3, heading="Rivers")) == "f.pdf, page 3, “Rivers”"


def test_examples_come_back_as_they_were_written(tmp_path):
    question = Question("q", "who?", history=(Message("user", "hi"),), style="conversation")
    example = Example(DataKind.RETRIEVAL_QA, "s", question, (Passage("p", "text", "T"), Passage("r", "x")), "Ada")
    assert write_examples(tmp_path / "e.jsonl.zst", [example]) == 1
    assert list(read_examples(tmp_path / "e.jsonl.zst")) == [example]


@pytest.mark.parametrize("row", ['{"kind": "sft"}', '{"kind": "x", "source": "s", "id": "1", "question": "q", '
                                 '"contexts": [], "target": "t"}'])  # fmt: skip
def test_a_row_that_is_no_example_is_named(tmp_path, row):
    with pytest.raises(DataError, match=r"rows.jsonl:1: no training example"):
        list(read_examples(lines(tmp_path, row)))


def test_the_options_of_a_choice_are_read_and_others_are_not():
    row = {"question": "Which?", "options": {"A": "x", "B": "y"}}
    assert parse_question({**row, "style": "choice"}, "here").options == ("x", "y")
    assert parse_question(row, "here").options == ()
    with pytest.raises(DataError, match=r"here: the options must be lettered A, B, … in order \(found: B, A\)"):
        parse_question({**row, "style": "choice", "options": {"B": "y", "A": "x"}}, "here")


def test_items_of_a_list_are_texts():
    row = {"question": "Which colours?", "answers": ["red, white"], "items": ["red", "white"]}
    assert parse_question(row, "here").items == ("red", "white")
    with pytest.raises(DataError, match="here: 'items' must be a list of texts"):
        parse_question(row | {"items": "red"}, "here")
