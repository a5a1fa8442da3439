from __future__ import annotations

import pytest

from rankrag.data.sets import Judged
from rankrag.evaluation.nearness import NearnessWork
from rankrag.evaluation.work import with_cosines
from rankrag.rerank import Judgement
from rankrag.retrieval.nearness import Nearness
from rankrag.types import Message, Passage, Question

PASSAGES = {name: Passage(name, text) for name, text in (("a", "golden land"), ("b", "the lake"), ("c", "a town"))}
ASKED = Judged(Question("q", "golden", (Message("user", "lake"),)), ("a",), {})


@pytest.fixture
def work(encoder, tmp_path):
    def call(history="last", weight=2.0):
        return NearnessWork(Nearness(encoder, weight), history, PASSAGES, tmp_path, "Set")

    return call


def test_cosines_are_made_once_and_kept(work, encoder, tmp_path):
    first = work().cosines([(ASKED, ("a", "b"))])
    assert (list(first["q"]), encoder.encoded) == (["a", "b"], 2)
    assert first["q"]["a"] > first["q"]["b"]
    more = work().cosines([(ASKED, ("b", "c"))])
    assert (more["q"]["b"], encoder.encoded) == (first["q"]["b"], 3)
    assert work().cosines([(ASKED, ("a", "b", "c"))])["q"] == first["q"] | more["q"]
    assert [path.name for path in tmp_path.iterdir()] == ["nearness-last-stub@1.jsonl"]


def test_a_conversation_is_compared_as_it_is_searched(work):
    asked = [(ASKED, ("a", "b"))]
    last, both = work("last").cosines(asked)["q"], work("both").cosines(asked)["q"]
    assert both["b"] > last["b"]


def test_what_is_added_is_the_weight_times_the_cosine(work):
    judged = {"q": {"a": Judgement(1.0, 0.5), "b": Judgement(1.5, 0.5)}}
    cosines = work().cosines([(ASKED, ("a", "b"))])
    found = work().added(judged, [(ASKED, ("a", "b"))])
    assert found == {"q": with_cosines(judged["q"], cosines["q"], 2.0)}
    assert found["q"]["a"].final == pytest.approx(1.0 + 2.0 * cosines["q"]["a"])
    assert found["q"]["b"].log_odds == 1.5


def test_a_question_without_candidates_adds_nothing(work):
    assert work().added({"q": {}}, [(ASKED, ())]) == {"q": {}}
