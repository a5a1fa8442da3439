from __future__ import annotations

import json

import pytest

from rankrag.data.files import located_rows
from rankrag.data.formats import corpus_rows, read_qrels, write_beir, write_flashrag, write_mirage, write_qrels
from rankrag.data.load import load
from rankrag.data.sets import Benchmark, Judged, TestSet
from rankrag.errors import DataError
from rankrag.types import Passage, Question
from tests.data.published import write

PASSAGES = {
    "d 1": Passage("d 1", "A line.\nAnother, with a tab\there.", 'The "first" title'),
    "d2": Passage("d2", "Ebro", ""),
    "d3": Passage("d3", "ебро", "Река"),
}
QUESTIONS = (
    Judged(Question("q1", "Which river?", answers=("Ebro", "the Ebro")), ("d2",), {"d2": 2, "d 1": 0}),
    Judged(Question("q2", "what\nelse", answers=()), ("d 1",), {"d 1": 1}),
)


def made(schema, rows, corpus, companion="", style="short"):
    return Benchmark("own", "Own", rows, (corpus,) if corpus else (), "R@1", style, schema=schema, companion=companion)


def located(path, subset=""):
    return [(where.rpartition(":")[2], row) for where, row in located_rows(path, subset)]


def test_a_set_goes_out_as_beir_and_comes_back(tmp_path):
    benchmark = made("beir", "beir/queries.jsonl", "beir/corpus.jsonl", "beir/qrels/dev.tsv", style=None)
    own = TestSet(benchmark, QUESTIONS, PASSAGES)
    write_beir(own, tmp_path / "beir", "dev")
    read = load(own.benchmark, tmp_path)
    assert read.passages == PASSAGES
    assert [(of.question.id, of.question.text, of.gold, of.grades) for of in read.questions] == [
        (of.question.id, of.question.text, of.gold, of.grades) for of in QUESTIONS
    ]
    with (tmp_path / "beir/queries.jsonl").open("a") as file:
        file.write('{"_id": "q3", "text": "not judged"}\n')
    assert len(load(own.benchmark, tmp_path).questions) == 2


def test_a_set_goes_out_as_flashrag_and_comes_back(tmp_path):
    own = TestSet(made("flashrag", "test.jsonl", "corpus.jsonl"), QUESTIONS, PASSAGES)
    write_flashrag(own, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "test.jsonl").read_text().splitlines()]
    assert rows[0] == {"id": "q1", "question": "Which river?", "golden_answers": ["Ebro", "the Ebro"], "metadata": {}}
    assert {p.id: p for _, p in corpus_rows(tmp_path / "corpus.jsonl")} == PASSAGES
    closed = load(own.benchmark, tmp_path, passages=False)
    assert [of.question for of in closed.questions] == [QUESTIONS[0].question]
    assert sum(closed.left_out.values()) == 1  # no answer to the other one is known


def test_multiple_choice_goes_out_as_mirage_and_comes_back(tmp_path):
    asked = Question("0000", "Which?", answers=("B",), style="choice", options=("x", "y", "z"))
    write_mirage({"medqa": [asked], "mmlu": [asked]}, tmp_path / "benchmark.json")
    benchmark = made("mirage", "benchmark.json", "", style="choice")
    found = load(Benchmark("m", "M", "benchmark.json", (), None, "choice", schema="mirage", subset="mmlu"), tmp_path)
    assert [of.question for of in found.questions] == [asked]
    with pytest.raises(DataError, match="no row of mirage: no 'question'"):
        load(benchmark, tmp_path, passages=False)


@pytest.mark.parametrize("beir", [False, True])
def test_judgements_go_out_and_come_back(tmp_path, beir):
    write_qrels(QUESTIONS[:1], tmp_path / "qrels", beir=beir)
    assert read_qrels(tmp_path / "qrels") == {"q1": {"d2": 2, "d 1": 0}}
    assert ("d%201" in (tmp_path / "qrels").read_text()) is not beir  # TREC's tools part fields at spaces


def test_all_mistakes_of_a_file_of_judgements_are_told(tmp_path):
    write(tmp_path / "qrels", "q1 0 a 1\nq1 0 a 2\nq1 a\nq1 0 b x\n")
    with pytest.raises(DataError, match=r"qrels:2: passage 'a' is judged twice.*qrels:3: no judgement.*qrels:4: no"):
        read_qrels(tmp_path / "qrels")


def test_rows_of_json_have_the_line_they_start_in(tmp_path):
    path = tmp_path / "rows.json"
    write(path, '\n[\n  {"a": "]"},\n\n  {"b":\n 2}, {"c": 3}]')
    assert located(path) == [("3", {"a": "]"}), ("5", {"b": 2}), ("6", {"c": 3})]
    write(path, '{\n "x": {"1": {"n": "y"}},\n "y": {\n  "1": {"n": 1},\n  "2": {"n": 2}}}')
    assert located(path, "y") == [("4", {"id": "1", "n": 1}), ("5", {"id": "2", "n": 2})]


@pytest.mark.parametrize(
    ("text", "subset", "message"),
    [
        ('[{"a": 1},\n {"b"}]', "", r"rows\.json:2: not JSON"),
        ("[1]", "", r"rows\.json:1: holds int"),
        ('{"x": {}}', "y", "no object 'y' \\(found: x\\)"),
        ('{"x": {"1": {}, "1": {}}}', "x", "'1' stands twice"),
        ('{"x": {"1": 5}}', "x", "'1' holds int"),
        ('[{"a": 1},\n', "", r"rows\.json:2: not JSON \(the array has no end\)"),
        ("5", "", "holds int, neither an array nor an object"),
        ("{", "", "not JSON"),
    ],
)
def test_a_broken_json_file_says_where(tmp_path, text, subset, message):
    write(tmp_path / "rows.json", text)
    with pytest.raises(DataError, match=message):
        list(located_rows(tmp_path / "rows.json", subset))


def test_tables_with_and_without_a_header(tmp_path):
    write(tmp_path / "psgs.tsv", 'id\ttext\ttitle\n1\t"A ""quoted"" text"\tT\n')
    write(tmp_path / "popqa.csv", "id,question\n7,who?\n")
    assert [p for _, p in corpus_rows(tmp_path / "psgs.tsv")] == [Passage("1", 'A "quoted" text', "T")]
    assert located(tmp_path / "popqa.csv") == [("2", {"id": "7", "question": "who?"})]
    write(tmp_path / "psgs.tsv", "id\ttext\ttitle\n1\ttext\n")
    with pytest.raises(DataError, match=r"psgs\.tsv:2: not as many fields"):
        list(corpus_rows(tmp_path / "psgs.tsv"))
