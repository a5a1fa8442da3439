"""The same tolerance on every road by which rows come in: retrieve, rerank, ask, evaluate, blend, index."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from rankrag.blend.sources import read_source
from rankrag.config.blend import SourceConfig
from rankrag.data.load import load_set
from rankrag.data.rows import parse_row, read_passages, read_questions
from rankrag.data.runs import known_id, read_candidates, read_qrels, read_run
from rankrag.data.sets import Benchmark
from rankrag.documents.loading import Loaded, load_documents
from rankrag.errors import DataError
from rankrag.types import Passage, Question
from tests.data.published import write

QUESTION = {"id": 1, "question": "Which river?", "answers": ["Ebro"], "positive_ids": [7], "near_ids": None}
CORPUS = [{"_id": 7, "title": "Ebro", "text": "", "metadata": {}}, {"_id": "50%2Foff", "title": None, "text": "Tagus"}]


def lines(path, rows):
    """Write rows as some tools do: with a byte order mark, other line ends, and an empty last line."""
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(("\ufeff" + "".join(json.dumps(row) + "\r\n" for row in rows) + "\r\n").encode())
    return path


def made(**fields):
    return Benchmark("own", "Own", "rows.jsonl", ("corpus.jsonl",), "R@1", **fields)


def test_questions_are_read_alike_by_retrieve_rerank_evaluate_and_blend(tmp_path):
    rows = lines(tmp_path / "rows.jsonl", [QUESTION | {"candidates": ["Ebro", {"text": "Tagus", "label": 0}]}])
    (asked,) = read_questions(rows)
    ((reranked, ranking),) = read_candidates(rows)
    assert asked == reranked == Question("1", "Which river?", answers=("Ebro",))
    assert [c.passage for c in ranking] == [Passage("1/c0", "Ebro"), Passage("1/c1", "Tagus")]
    lines(tmp_path / "rows.jsonl", [QUESTION])
    lines(tmp_path / "corpus.jsonl", CORPUS)
    in_a_set = replace(asked, style="short")  # a set says its style
    (judged,) = load_set(made(), tmp_path).questions
    assert (judged.question, judged.gold) == (in_a_set, ("7",))
    wanted = SourceConfig.model_validate({"name": "s", "rows": "rows.jsonl", "corpus": "corpus.jsonl"})
    (record,) = read_source(wanted, tmp_path).records
    assert (record.question, record.positives, record.near) == (in_a_set, ("7",), ())


def test_passages_are_read_alike_by_evaluate_and_index(tmp_path):
    corpus = lines(tmp_path / "corpus.jsonl", CORPUS)
    expected = [Passage("7", "", "Ebro"), Passage("50%2Foff", "Tagus")]
    assert list(read_passages(corpus)) == expected
    lines(tmp_path / "rows.jsonl", [QUESTION])
    assert list(load_set(made(), tmp_path).passages.values()) == expected
    (loaded,) = load_documents([corpus], {})
    assert isinstance(loaded, Loaded)
    assert [(p.id, p.text, p.title) for p in loaded.passages] == [(p.id, p.text, p.title) for p in expected]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffquery-id\tcorpus-id\tscore\r\n1\t50%2Foff\t2.0\r\n1\t7\t-1\r\n\r\n",
        "1 0 50%2Foff 2\n1 0 7 -1\n1 0 7 -1\n",
        "1\t0\t50%2Foff\t2\n1\tQ0\t7\t-1\n",
    ],
)
def test_judgements_are_read_as_their_own_tools_read_them(tmp_path, text):
    (tmp_path / "qrels").write_bytes(text.encode())
    assert read_qrels(tmp_path / "qrels") == {"1": {"50%2Foff": 2, "7": -1}}
    lines(tmp_path / "queries.jsonl", [{"_id": 1, "text": "Which river?"}, {"_id": 2, "text": "not judged"}])
    lines(tmp_path / "corpus.jsonl", CORPUS)
    benchmark = Benchmark(
        "own", "Own", "queries.jsonl", ("corpus.jsonl",), "NDCG@10", None, schema="beir", companion="qrels"
    )
    (judged,) = load_set(benchmark, tmp_path).questions
    assert judged.gold == ("50%2Foff",)
    assert judged.grades == {"50%2Foff": 2, "7": -1}


def test_all_mistakes_of_a_file_of_judgements_are_told(tmp_path):
    write(tmp_path / "qrels", "q1 0 a 1\nq1 0 a 2\nq1 a\nq1 0 b x\nq1 0 c 0.5\n")
    with pytest.raises(DataError) as error:
        read_qrels(tmp_path / "qrels")
    told = str(error.value)
    assert "qrels:2: passage 'a' is judged twice" in told
    assert "qrels:3: no judgement" in told
    assert "qrels:4: no judgement" in told
    assert "qrels:5: no judgement" in told
    assert "(found: '0.5')" in told


def test_ids_of_other_tools_keep_their_percent_signs_and_ours_lose_the_escapes(tmp_path):
    run = write(tmp_path / "run.trec", "q%201 Q0 50%2Foff 1 2 x\nq%201 Q0 d%201 2 1 x\n") or tmp_path / "run.trec"
    questions = {"q 1": Question("q 1", "x")}
    (ranked,) = read_run(run, questions, {"50%2Foff", "d 1"})
    assert ranked.ids == ("50%2Foff", "d 1")
    (raw,) = read_run(run, questions)
    assert raw.ids == ("50%2Foff", "d%201")
    assert known_id("d%201", {"d%201", "d 1"}) == "d%201"


def test_passages_of_equal_rank_come_by_their_score(tmp_path):
    write(tmp_path / "run.trec", "q Q0 a 0 1.5 x\nq Q0 b 0 2.5 x\nq Q0 c 0 1.5 x\n")
    (ranked,) = read_run(tmp_path / "run.trec", {"q": Question("q", "x")})
    assert ranked.ids == ("b", "a", "c")


def test_ids_that_are_no_texts_or_whole_numbers_are_named():
    for key, value in (("id", 1.5), ("positive_ids", [True]), ("candidates", [{"id": [], "text": "x"}])):
        with pytest.raises(DataError, match=r"^here.*: an id must be a text or a whole number"):
            parse_row(QUESTION | {key: value}, "here")


def test_a_choice_may_have_five_options_and_up_to_26():
    options = {letter: f"option {letter}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
    row = {"id": 1, "question": "Which?", "options": options, "label": "Z"}
    question = parse_row(row, "here", "choice").question
    assert question.answers == ("Z",)
    assert len(question.options) == 26
