from __future__ import annotations

import pytest

from experiments.first_stage.answers import Asked, orders, print_answers, say
from rankrag.models.fake import FakeLanguageModel
from rankrag.retrieval.rounds import Retrieved
from rankrag.types import Passage, Question, ScoredPassage, SecondRound

FILM = Passage("film", "Casablanca is a film by a Hungarian.", "Casablanca")
MAN = Passage("man", "He was born in Budapest.", "Michael Curtiz")
BOTH = (ScoredPassage(FILM, 1.0), ScoredPassage(MAN, 0.5))
TWICE = Asked(
    Question("1", "Where was the director of Casablanca born?", answers=("Budapest",), style="short"),
    frozenset({"film", "man"}),
    Retrieved(BOTH, SecondRound(("Michael Curtiz",), frozenset({"man"}))),
)
ONCE = Asked(Question("2", "Is Casablanca a film?", answers=("yes",)), frozenset({"film"}), Retrieved(BOTH[:1]))


@pytest.fixture
def model(monkeypatch):
    """Return a model to which the film's page alone is relevant, and that answers from the man's page alone."""

    def reply(prompt):
        return "Budapest" if any(MAN.text in segment.text for segment in prompt) else "Hungary"

    fake = FakeLanguageModel(yes_if=FILM.text, reply=reply)
    monkeypatch.setattr("experiments.first_stage.answers.open_model", lambda name, **_: fake)
    return fake


def test_both_answers_are_asked_for_once_and_only_where_there_are_two_rounds(model, tmp_path, capsys):
    for _ in range(2):
        said = say([ONCE, TWICE], ("ranker", "writer"), 2, 1, tmp_path)
        assert set(said) == {"1"}
        assert (said["1"].one, said["1"].auto) == ("Hungary", "Budapest")
        assert len(model.prompts) == 5  # two passages, one of them again, and two answers
    print_answers([ONCE, TWICE], said)
    assert "| 2 | 1 | EM | 0.000 | 1.000, +1.000 [+1.000, +1.000] | +0.500" in capsys.readouterr().out


def test_the_first_rounds_best_passage_is_in_view_for_what_only_the_second_one_found(model, tmp_path):
    said = say([TWICE], ("ranker", "writer"), 2, 1, tmp_path)["1"]
    assert (set(said.alone), set(said.in_view)) == ({"film", "man"}, {"man"})
    text = "".join(segment.text for segment in model.prompts[2])
    assert FILM.text in text
    assert MAN.text in text
    assert say([TWICE], ("ranker", "writer"), 2, 0, tmp_path)["1"].in_view == {}


def test_orders_are_by_the_log_odds_that_they_name(model, tmp_path):
    said = say([TWICE], ("ranker", "writer"), 2, 1, tmp_path)["1"]
    said.in_view["man"] = said.alone["film"] + 1
    found = {name: [c.passage.id for c in ranking] for name, ranking in orders(TWICE, said).items()}
    assert found == {
        "first round, P(True)": ["film"],
        "union": ["film", "man"],
        "P(True)": ["film", "man"],
        "mean place": ["film", "man"],
        "in view": ["man", "film"],
        "higher": ["man", "film"],
    }
