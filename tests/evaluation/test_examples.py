from __future__ import annotations

from dataclasses import replace

import pytest

from rankrag.contract import Contract
from rankrag.data.files import write_rows
from rankrag.errors import DataError
from rankrag.evaluation.examples import examples_check, settings_key
from rankrag.evaluation.summary import ExampleFigures
from rankrag.models.fake import FakeLanguageModel
from rankrag.pipeline import RankRAG
from rankrag.types import Passage, ScoredPassage, Source

TEXTS = {"tagus.md": "golden Tagus", "ebro.md": "Ebro river golden", "hill.md": "a hill"}


class Shelf:
    """Finds the passages that share a word with the query."""

    def retrieve(self, queries, k):
        passages = [Passage(name, text, source=Source(f"corpus/{name}")) for name, text in TEXTS.items()]
        return [
            tuple(ScoredPassage(p, 1.0) for p in passages if set(q.lower().split()) & set(p.text.lower().split()))[:k]
            for q in queries
        ]


def pipeline(reply="golden", **contract):
    model = FakeLanguageModel(yes_if="golden", reply=reply, contract=replace(Contract(), **contract))
    return RankRAG(Shelf(), model)


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "questions.jsonl"
    write_rows(
        path,
        [
            {"id": "a", "question": "Tagus", "answers": ["golden"], "source": "tagus.md"},
            {"id": "b", "question": "Ebro", "answers": ["golden river"], "sources": ["corpus/other.md"]},
            {"id": "c", "question": "hill", "answers": ["green"]},
            {"id": "d", "question": "hill top", "answers": []},
            {"id": "e", "question": "moon", "answers": []},
            {"id": "f", "question": "Tagus fish"},
        ],
    )
    return path


def test_refusals_answers_and_first_citations_are_counted(questions):
    found = examples_check(pipeline(abstain_below=0.0), questions)
    # c and d find only the hill, e finds nothing; f is answered though nothing says so.
    assert found == ExampleFigures(
        unanswerable=3,
        unanswerable_refused=2,
        answerable=3,
        answerable_refused=1,
        em=pytest.approx(1 / 3),
        f1=pytest.approx((1 + 2 / 3 + 0) / 3),
        source_hit=0.5,
    )


def test_answers_are_kept_for_the_same_pipeline_only(questions, tmp_path):
    journal, told = tmp_path / "kept" / "examples.jsonl", []
    first = examples_check(pipeline(), questions, journal=journal, progress=lambda *of: told.append(of))
    assert told[-1] == ("Examples: asking", 6, 6)
    journal.write_bytes(journal.read_bytes()[:-9])
    again = pipeline()
    assert examples_check(again, questions, journal=journal) == first
    assert {s.text for prompt in again.model.prompts for s in prompt if s.kind == "text"} == {"Tagus fish"}
    stricter = pipeline(abstain_below=99.0)
    assert examples_check(stricter, questions, journal=journal).answerable_refused == 3


def test_the_settings_of_a_pipeline_have_a_key():
    keys = {settings_key(p, "m") for p in (pipeline(), replace(pipeline(), k=1), replace(pipeline(), reranker=None))}
    assert len(keys) == 3
    assert settings_key(pipeline(), "m") == settings_key(pipeline(), "m")


def test_only_unanswerable_questions_give_no_scores(tmp_path):
    path = tmp_path / "questions.jsonl"
    write_rows(path, [{"question": "moon", "answers": []}])
    assert examples_check(pipeline(), path) == ExampleFigures(1, 1, 0, 0, 0.0, 0.0, None)


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "none.jsonl").write_text("")
    with pytest.raises(DataError, match="holds no question"):
        examples_check(pipeline(), tmp_path / "none.jsonl")
