from __future__ import annotations

import pytest

from rankrag.data.files import write_rows
from rankrag.errors import DataError
from rankrag.evaluation.own_documents import own_documents, read_sourced_questions
from rankrag.evaluation.parts import Openers
from rankrag.evaluation.run import evaluate
from rankrag.evaluation.systems import System
from tests.evaluation.conftest import golden

TEXTS = {"tagus.md": "golden Tagus", "ebro.md": "Ebro river golden", "hill.md": "a hill"}
ROWS = [
    {"id": "a", "question": "Tagus", "answers": ["golden"], "source": "tagus.md"},
    {"id": "b", "question": "Ebro", "answers": ["golden river"], "sources": ["corpus/other.md"]},
    {"id": "c", "question": "hill", "answers": ["green"]},
    {"id": "d", "question": "hill top", "answers": []},
    {"id": "e", "question": "moon", "answers": []},
    {"id": "f", "question": "Tagus fish"},
]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "own/corpus").mkdir(parents=True)
    for name, text in TEXTS.items():
        (tmp_path / "own/corpus" / name).write_text(f"{text}\n")
    write_rows(tmp_path / "own/questions.jsonl", ROWS)
    return tmp_path / "own"


def test_own_documents_are_measured_like_any_other_set(folder, tmp_path):
    openers = Openers(lambda name: (golden("golden", abstain_below=0.0), name))
    systems = [System(name="mini", model="m", retriever="bm25")]
    sets = own_documents(folder)
    evaluation = evaluate(tmp_path, tmp_path / "run", systems, openers, sets=sets)
    answerable, unanswerable = evaluation.of("own", "mini"), evaluation.of("own-unanswerable", "mini")
    # c and d find only the hill, e finds nothing; f is answered though no passage says so.
    assert answerable.questions == 3
    assert answerable.figures["refused"].mean == pytest.approx(1 / 3)
    assert answerable.figures["EM"].mean == pytest.approx(1 / 3)
    assert answerable.figures["F1"].mean == pytest.approx((1 + 2 / 3 + 0) / 3)
    assert answerable.figures["first citation gold"].mean == 1.0
    assert unanswerable.questions == 3
    assert unanswerable.figures["refused"].mean == pytest.approx(2 / 3)


def test_all_passages_of_a_named_file_are_gold(folder):
    answerable, unanswerable = own_documents(folder)
    gold = {judged.question.id: judged.gold for judged in answerable.questions}
    (tagus,) = gold["a"]
    assert answerable.passages[tagus].source.path.endswith("corpus/tagus.md")
    assert gold["b"] == ()
    assert [judged.question.id for judged in unanswerable.questions] == ["d", "e", "f"]
    assert unanswerable.passages is answerable.passages


def test_an_id_that_is_given_twice_is_named_with_both_places(folder):
    write_rows(folder / "questions.jsonl", [*ROWS, {"id": "a", "question": "Tagus again"}])
    with pytest.raises(DataError, match=r"questions\.jsonl:7: id 'a' stands in .*questions\.jsonl:1 already"):
        own_documents(folder)


def test_an_empty_file_of_questions_is_refused(tmp_path):
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(DataError, match="holds no question"):
        read_sourced_questions(tmp_path / "none.jsonl")
