from __future__ import annotations

import pytest

from rankrag.citations import cite, with_markers
from rankrag.documents.sentences import sentences
from rankrag.models.fake import FakeLanguageModel
from rankrag.types import Citation, Question

QUESTION = Question("q", "Which river?")


def cited(model, text, contexts, relevance=None):
    return [c.context for c in cite(model, QUESTION, text, contexts, relevance or {})]


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("It was P. T. Barnum. He did.", ["It was P. T. Barnum.", "He did."]),
        ("One. Two!  Three", ["One.", "Two!", "Three"]),
        ("第一句。第二句！", ["第一句。", "第二句！"]),
        ("", []),
        ("  \n", []),
        ("Version 3.5 is out.", ["Version 3.5 is out."]),
    ],
)
def test_a_text_is_cut_into_sentences(text, pieces):
    assert [text[a:b] for a, b in sentences(text)] == pieces


def test_a_sentence_without_support_has_no_citation(ranking_of):
    assert cited(FakeLanguageModel(yes_if="never"), "Lisbon.", ranking_of("a", "b")) == []


def test_no_contexts_give_no_citation():
    assert cited(FakeLanguageModel(), "Lisbon.", ()) == []


def test_the_only_passage_with_the_words_supports_without_asking_the_model(ranking_of):
    model = FakeLanguageModel()
    assert cited(model, "Lisbon.", ranking_of("Madrid", "at Lisbon")) == [1]
    assert model.prompts == []


def test_among_passages_with_the_words_the_most_relevant_supports(ranking_of):
    contexts = ranking_of("Lisbon one", "Lisbon two")
    assert cited(FakeLanguageModel(), "Lisbon.", contexts, {"p0": 0.2, "p1": 0.8}) == [1]


def test_passages_without_a_known_relevance_are_judged(ranking_of):
    assert cited(FakeLanguageModel(yes_if="two"), "Lisbon.", ranking_of("Lisbon one", "Lisbon two")) == [1]


def test_equal_judgements_cite_the_first_passage(ranking_of):
    assert cited(FakeLanguageModel(yes_if="lisbon"), "Lisbon.", ranking_of("Lisbon one", "Lisbon two")) == [0]


def test_bare_words_are_judged_even_where_a_passage_holds_them(ranking_of):
    assert cited(FakeLanguageModel(yes_if="two"), "Yes.", ranking_of("yes one", "two")) == [1]


def test_two_sentences_cite_two_passages(ranking_of):
    contexts = ranking_of("It is at Lisbon now", "It was at Porto then")
    found = cite(FakeLanguageModel(), QUESTION, "At Lisbon. At Porto.", contexts, {})
    assert found == (Citation(0, 10, 0), Citation(11, 20, 1))


def test_markers_stand_after_their_sentences():
    assert with_markers("One. Two.", (Citation(0, 4, 1), Citation(5, 9, 0))) == "One. [2] Two. [1]"


def test_no_citations_leave_the_text_alone():
    assert with_markers("One.", ()) == "One."
