from __future__ import annotations

import pytest

from experiments.first_stage.sets import Searched
from experiments.first_stage.written import SHOWN, query_of, rows_of
from rankrag.models.fake import FakeLanguageModel
from rankrag.templates import UNANSWERABLE
from rankrag.types import Passage, Question, ScoredPassage

FILM = Passage("film", "Casablanca is a film by a Hungarian.", "Casablanca")
MAN = Passage("man", "He was born in Budapest.", "Michael Curtiz")
ASKED = "Where was the director of Casablanca born?"


class Library:
    """Finds the passage whose title the query has a word of."""

    def retrieve(self, queries, k):
        return [
            tuple(
                ScoredPassage(p, 1.0) for p in (FILM, MAN) if set(p.title.split()) & set(query.replace("?", "").split())
            )
            for query in queries
        ]


@pytest.mark.parametrize("reply", ["nothing", "Nothing.", "", UNANSWERABLE])
def test_nothing_is_searched_for_if_the_model_says_so(reply):
    assert query_of(reply) == ""


def test_a_query_is_the_reply_and_not_longer_than_others():
    assert query_of(" Michael  Curtiz born") == "Michael Curtiz born"
    assert len(query_of("word " * 500).split()) == 60


@pytest.mark.parametrize(("reply", "found", "nothing"), [("Michael Curtiz born", 1.0, 0.0), ("nothing", 0.0, 1.0)])
def test_what_a_written_query_finds_counts(tmp_path, monkeypatch, reply, found, nothing):
    model = FakeLanguageModel(reply=lambda prompt: reply)
    monkeypatch.setattr("experiments.first_stage.written.open_model", lambda name, **_: model)
    searched = Searched("films", (FILM, MAN), (Question("1", ASKED),), ((ASKED, ASKED),), (frozenset({0, 1}),))
    (row,) = rows_of(searched, Library(), "any", tmp_path / "replies.jsonl")
    assert row["written"] == (found, found)
    assert row["one round"] == row["names"] == (0.0, 0.0)  # the film's page does not name its director
    assert row["nothing"] == (nothing,)


def test_the_model_sees_the_first_passages_and_is_asked_once(tmp_path, monkeypatch):
    seen = []
    model = FakeLanguageModel(reply=lambda prompt: seen.append(prompt) or "nothing")
    monkeypatch.setattr("experiments.first_stage.written.open_model", lambda name, **_: model)
    many = tuple(Passage(f"p{i}", "Casablanca", f"Casablanca {i}") for i in range(9))
    monkeypatch.setattr(
        Library, "retrieve", lambda self, queries, k: [tuple(ScoredPassage(p, 1.0) for p in many)] * len(queries)
    )
    searched = Searched("films", many, (Question("1", ASKED),), ((ASKED, ASKED),), (frozenset({0}),))
    for _ in range(2):
        list(rows_of(searched, Library(), "any", tmp_path / "replies.jsonl"))
    (prompt,) = seen
    assert sum(s.kind == "passage" for s in prompt) == SHOWN
