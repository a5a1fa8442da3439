"""Films name their directors, whose pages have the answers: each question needs two pages."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from rankrag.blend.kinds import source_groups
from rankrag.blend.mining import finder, mine
from rankrag.blend.second_round import gold_in_order, open_words, query_examples, with_first_in_view
from rankrag.blend.sources import QuestionSet, Record
from rankrag.config.blend import BlendConfig, SourceConfig
from rankrag.templates import NOTHING
from rankrag.types import DataKind, Passage, Question

FILMS = ("Amber", "Basalt", "Cobalt", "Dolomite", "Emerald", "Flint")
PEOPLE = ("Ada Ash", "Ben Birch", "Cy Cedar", "Di Dogwood", "Eve Elm", "Finn Fir")


def films():
    """Return six questions of two pages each, and a question that one page answers."""
    pages = [Passage(f"f{i}", f"{f} is a film by {PEOPLE[i]}.", f"{f} (film)") for i, f in enumerate(FILMS)]
    pages += [Passage(f"p{i}", f"{p} was born in Town{i}.", f"{p} (director)") for i, p in enumerate(PEOPLE)]
    pages += [Passage("moon", "The moon is far away.", "Moon"), Passage("sun", "The sun, which no moon is.", "Sun")]
    pages += [Passage("night", "Moon and stars.", "Night")]
    records = [
        Record(
            Question(f"q{i}", f"Where was the director of the film {film} born?", answers=(f"Town{i}",)),
            (f"p{i}", f"f{i}"),
        )
        for i, film in enumerate(FILMS)
    ]
    records.append(Record(Question("m", "How far away is the moon?", answers=("far",)), ("moon",)))
    return QuestionSet("films", tuple(records), {p.id: p for p in pages})


@pytest.fixture
def source():
    return films()


def examples(source, size=3, seed=0):
    return [e for (e,) in query_examples(source, mine(source, 5), size, random.Random(seed))]


def test_the_query_has_the_next_page_s_title_without_its_remark_and_what_the_first_page_leaves_open(source):
    found = {e.question.id: e for e in examples(source, size=1)}  # one page is never enough
    for i, person in enumerate(PEOPLE):
        assert found[f"q{i}"].target == f"{person} director born"
        assert [p.id for p in found[f"q{i}"].contexts] == [f"f{i}"]


def test_every_query_finds_the_next_page_and_never_shows_it(source):
    find = finder(source)
    for e in examples(source, size=2):
        shown = {p.id for p in e.contexts}
        if e.target != NOTHING:
            assert f"p{e.question.id[1:]}" in set(find(e.target, 5)) - shown


def test_nothing_is_left_to_find_where_all_gold_pages_are_shown(source):
    found = [e for seed in range(8) for e in examples(source, seed=seed)]
    enough = [e for e in found if e.target == NOTHING]
    gold = {r.question.id: set(r.positives) for r in source.records}
    assert {e.question.id for e in enough} > {"m"}
    assert all(gold[e.question.id] <= {p.id for p in e.contexts} for e in enough)
    assert len({e.question.id for e in found if e.target != NOTHING}) == len(FILMS)


def test_lists_are_filled_with_negatives_and_shuffled(source):
    found = [e for seed in range(8) for e in examples(source, seed=seed)]
    assert {len(e.contexts) for e in found} == {3}
    assert {e.kind for e in found} == {DataKind.SECOND_QUERY}
    places = {[p.id for p in e.contexts].index("moon") for e in found if e.question.id == "m"}
    assert len(places) > 1


def test_a_page_that_neither_the_first_one_nor_the_question_names_gives_no_query(source):
    unknown = replace(source.passages["p0"], title="Someone Else")
    hidden = replace(source, passages={**source.passages, "p0": unknown})
    assert "q0" not in {e.question.id for e in examples(hidden, size=1)}
    assert hidden.dropped["no query leads from one gold passage to the next"] == 1


def test_names_of_other_pages_are_no_open_words(source):
    asked = Question("q", "Who was born first, the director of Amber or of Basalt?")
    assert open_words(asked, "Ada Ash", source.passages["f0"]) == ["born", "first", "director"]


def test_gold_passages_are_in_the_order_in_which_the_question_finds_them(source):
    assert gold_in_order(source.records[0], finder(source)) == ["f0", "p0"]


def test_the_first_page_is_an_earlier_turn_of_the_question_that_is_asked_again(source):
    first, *_, moon = with_first_in_view(source)
    assert [m.content for m in first.question.history] == [
        "Where was the director of the film Amber born?",
        "Amber (film)\nAmber is a film by Ada Ash.",
    ]
    assert (first.question.text, first.positives) == (source.records[0].question.text, ("p0", "f0"))
    assert moon.question.history[1].content == "Moon\nThe moon is far away."


@pytest.mark.parametrize("in_view", [True, False])
def test_ranking_shows_the_first_page_only_if_the_source_says_so(source, in_view):
    wanted = SourceConfig(name="films", rows="r", kinds=["context_ranking"], first_in_view=in_view)
    kinds = frozenset({DataKind.CONTEXT_RANKING})
    groups = source_groups(BlendConfig(), wanted, source, mine(source, 5), kinds, random.Random(0))
    found = [e for group in groups for e in group]
    assert {e.target for e in found} == {"True", "False"}
    assert {len(e.question.history) for e in found} == {2 if in_view else 0}
    gold = {r.question.id: r.positives for r in source.records}
    assert all((e.contexts[0].id in gold[e.question.id]) == (e.target == "True") for e in found)


def test_queries_stand_beside_other_kinds_and_leave_those_as_they_are(source):
    def drawn(*kinds):
        wanted = SourceConfig(name="films", rows="r", kinds=kinds, unanswerable=0)
        mined = mine(source, 5)
        groups = source_groups(BlendConfig(list_size=3), wanted, source, mined, frozenset(kinds), random.Random(0))
        return [e for group in groups for e in group]

    ranking, query = DataKind.CONTEXT_RANKING, DataKind.SECOND_QUERY
    assert [e for e in drawn(ranking, query) if e.kind is ranking] == drawn(ranking)
    assert {e.kind for e in drawn(ranking, query)} == {ranking, query}
