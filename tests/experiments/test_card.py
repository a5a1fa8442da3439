"""Figures of a model's card, on judgements and answers that are small enough to count by hand."""

from __future__ import annotations

import json
import math

import pytest

from experiments.card import auroc, counted, held, read_judgements
from rankrag.data.sets import Benchmark, Judged, TestSet
from rankrag.types import Passage, Question

PASSAGES = {
    "gold": Passage("gold", "The tower is 300 metres high, as all guides say."),
    "other": Passage("other", "A bridge of stone crosses the river near the mill."),
    "third": Passage("third", "Bread is baked in the village on every Friday."),
}


def set_of(*, unanswerable: bool = False) -> TestSet:
    benchmark = Benchmark("x", "x", rows="", corpora=(), metric="R@1", style="short", unanswerable=unanswerable)
    question = Question("q", "How high is the tower?", answers=() if unanswerable else ("300 metres",))
    return TestSet(benchmark, (Judged(question, ("gold",), {"gold": 1}),), PASSAGES, searchable=True)


def test_held_counts_the_first_passage_before_and_after_reranking():
    found = held(set_of(), {"q": {"other": -1.0, "gold": 2.0, "third": -3.0}})
    assert (found.questions, found.bm25_first, found.first) == (1, 0, 1)
    assert (found.gold, found.other) == ([2.0], [-1.0, -3.0])
    assert (found.best, found.without) == ([2.0], [-1.0])


def test_held_takes_every_passage_of_a_question_without_an_answer():
    found = held(set_of(unanswerable=True), {"q": {"other": -1.0, "gold": 2.0}})
    assert found.questions == 0
    assert found.without == [2.0]


def test_auroc_counts_a_tie_as_half():
    assert auroc([1.0, 2.0], [0.0, 1.0]) == 0.875
    assert math.isnan(auroc([], [1.0]))


def test_judgements_come_in_the_order_of_the_first_stage(tmp_path):
    folder = tmp_path / "fit-x-1" / "model"
    folder.mkdir(parents=True)
    (folder.parent / "bm25-last.jsonl").write_text(json.dumps({"id": "q", "ids": ["b", "a", "c"]}) + "\n")
    rows = [{"id": "q", "judgements": {"a": [1.5, 0]}}, {"id": "q", "judgements": {"b": [0.5, 0]}}]
    (folder / "judgements.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert list(read_judgements(tmp_path, "x")["q"].items()) == [("b", 0.5), ("a", 1.5)]


@pytest.mark.parametrize(("below", "right", "refused"), [(-math.inf, 2, 0), (0.0, 2, 0), (3.0, 0, 2)])
def test_answers_are_counted_as_a_threshold_leaves_them(below, right, refused):
    contexts = [{"text": PASSAGES["gold"].text, "relevance": 0.9}]  # log-odds 2.2
    row = {"text": "It is 300 metres high.", "abstained": False, "contexts": contexts}
    questions = {
        "q": Question("q", "How high is the tower?", answers=("300 metres",)),
        "l": Question("l", "Which colours?", answers=("red, white",), items=("red", "white")),
        "n": Question("n", "Who built the tower?"),
    }
    answers = [
        {"id": "q", **row},
        {"id": "l", **row, "text": "White, then red."},
        {"id": "n", **row, "text": "Sorry. I cannot find the answer based on the context."},
    ]
    found = counted(answers, questions, below)
    assert (found["with an answer"], found["passage holds it"]) == (2, 1)
    assert (found["right"], found["refused"]) == (right, refused)
    assert (found["without"], found["without, refused"]) == (1, 1)
