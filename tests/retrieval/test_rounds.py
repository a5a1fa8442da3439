from __future__ import annotations

import pytest

from rankrag.documents.parts import SourcePassages
from rankrag.retrieval.fusion import HybridRetriever
from rankrag.retrieval.rounds import (
    LINKED_WITHIN,
    NAMED_WITHIN,
    NAMES,
    STARTS,
    is_linked,
    is_named,
    is_open,
    names_another,
    search_rounds,
    second_queries,
    unite,
)
from rankrag.types import Passage, ScoredPassage

FILM = Passage("film", "Casablanca is a film directed by Michael Curtiz.", "Casablanca (film)")
MAN = Passage("man", "Michael Curtiz was a film maker. He was born in Budapest.", "Michael Curtiz")
BREAD = Passage("bread", "Bread is baked from flour.", "Bread")
ASKED = "Where was the director of Casablanca born?"


def ranking(*passages):
    return tuple(ScoredPassage(passage, 10.0 - place) for place, passage in enumerate(passages))


def ids(found):
    return [c.passage.id for c in found]


class Library:
    """Finds the passages that have a word of the query in their title, and remembers what it was asked."""

    def __init__(self, *passages):
        self.passages, self.asked = passages, []

    def retrieve(self, queries, k):
        self.asked += queries
        return [self._found(query)[:k] for query in queries]

    def _found(self, query):
        words = set(query.lower().replace("?", "").split())
        return ranking(*(p for p in self.passages if words & set(p.title.lower().split())))


def test_the_second_page_is_found_by_a_name_in_the_first_one():
    library = Library(BREAD, FILM, MAN)
    (found,) = search_rounds(library, [(ASKED, (ASKED,))], 5, "auto")
    assert ids(found.ranking) == ["film", "man"]
    assert found.second.queries == ("Michael Curtiz director born?",)
    assert found.second.found == {"man"}
    assert library.asked == [ASKED, *found.second.queries]


def test_one_round_is_the_retrievers_ranking_as_it_is():
    library = Library(FILM, MAN)
    (found,) = search_rounds(library, [(ASKED, (ASKED,))], 5, 1)
    assert (found.ranking, found.second) == (ranking(FILM), None)
    assert library.asked == [ASKED]


def test_many_questions_are_searched_each_in_its_own_rounds():
    library = Library(BREAD, FILM, MAN)
    found = search_rounds(library, [("bread", ("bread",)), (ASKED, (ASKED,)), ("xyz", ("xyz",))], 5, "auto")
    assert [ids(one.ranking) for one in found] == [["bread"], ["film", "man"], []]
    assert [one.second is not None for one in found] == [False, True, False]


def test_of_a_hybrid_retriever_the_second_round_asks_the_lexical_one_alone():
    lexical, dense = Library(BREAD, FILM, MAN), Library(FILM)
    (found,) = search_rounds(HybridRetriever([lexical, dense]), [(ASKED, (ASKED,))], 5, 2)
    assert ids(found.ranking) == ["film", "man"]
    assert (len(lexical.asked), dense.asked) == (2, [ASKED])


@pytest.mark.parametrize("rounds", [2, "auto"])
def test_a_question_whose_first_round_finds_nothing_has_no_second_one(rounds):
    library = Library(MAN)
    (found,) = search_rounds(library, [(ASKED, (ASKED,))], 5, rounds)
    assert (found.ranking, found.second, library.asked) == ((), None, [ASKED])


def test_a_query_that_would_be_empty_or_the_question_itself_is_not_searched():
    assert second_queries("film directed", ranking(Passage("p", "a film that was directed by hand"))) == ()
    assert second_queries("where was bread made", ranking(Passage("p", "in a town by the river"))) == ()


def test_a_passage_that_is_nothing_but_names_gives_a_short_query():
    many = Passage("p", " ".join(f"Name{i}" for i in range(500)), "Names")
    (query,) = second_queries("Who wrote the Names?", ranking(many))
    assert query.split() == [*(f"Name{i}" for i in range(NAMES)), "wrote"]


def test_a_name_of_the_question_is_not_searched_again():
    (query,) = second_queries("Did Curtiz direct Casablanca?", ranking(FILM))
    assert "Michael" in query.split()
    assert "Curtiz" not in query.split()


def test_every_passage_that_the_question_names_gives_a_query_and_others_none():
    films = [Passage(f"f{i}", f"F{i} is by Maker{i}.", f"F{i}") for i in range(5)]
    question = "Who is older, the maker of F1, of F2, of F3 or of F4?"
    queries = second_queries(question, ranking(*films))
    assert [next(w for w in query.split() if w.startswith("Maker")) for query in queries] == [
        "Maker1",
        "Maker2",
        "Maker3",
    ]
    assert len(queries) == STARTS


def test_without_a_named_passage_the_best_one_gives_the_query():
    (query,) = second_queries("Which baker lived in Rome?", ranking(MAN, BREAD))
    assert query == "Michael Curtiz Budapest baker lived Rome?"


def test_names_are_found_in_any_script_that_has_capitals():
    (query,) = second_queries("Кто снял?", ranking(Passage("p", "Фильм снял Сергей Эйзенштейн. Ősi Žižka", "")))
    assert {"Сергей", "Эйзенштейн", "Ősi", "Žižka"} <= set(query.split())


def test_a_title_is_named_without_its_remark_and_never_if_it_is_empty():
    assert is_named("Where is casablanca's director from?", FILM)
    assert not is_named("Where is it?", FILM)
    assert not is_named("Where is it?", Passage("p", "text"))
    assert not is_named("Where is it?", Passage("p", "text", "(film)"))


@pytest.mark.parametrize(
    ("question", "linked", "alone"),
    [
        (ASKED, True, False),  # names the page, which lacks "director" and "born"
        ("Who was Casablanca's director?", True, False),  # lacks one word
        ("Who directed Casablanca?", False, False),
        ("In which town was his elder brother born?", True, False),  # lacks four words, and names nothing
        ("In which town was he born?", True, False),  # lacks two words
        ("Who was born?", False, False),  # lacks one word
        ("In which town was the older brother of its second director born?", True, False),  # six words
        ("In which old Hungarian town was the older brother of its second director born in May?", True, True),
        ("Where?", False, False),
    ],
)
def test_a_question_is_open_if_the_first_page_lacks_much_of_it_or_leads_to_another(question, linked, alone):
    assert is_open(question, ranking(FILM), {"again": ranking(BREAD, MAN)}) is linked
    assert is_open(question, ranking(FILM), {"again": ranking(BREAD)}) is alone
    assert not is_open(question, (), {})


def test_a_long_question_whose_words_the_best_page_has_is_settled():
    asked = "Is bread baked from rye flour in old stone ovens, with salt, sugar and seeds?"
    assert is_open(asked, ranking(BREAD), {})
    assert not is_open(asked, ranking(Passage("p", asked)), {})


def test_a_page_leads_to_another_title_that_it_names_among_the_first_few():
    assert is_linked([FILM], {"again": ranking(BREAD, FILM, MAN)})
    assert is_linked([FILM], {"one": ranking(BREAD), "two": ranking(MAN)})
    assert not is_linked([MAN], {"again": ranking(FILM)})  # the man's page does not name the film
    others = (Passage(f"p{i}", "Casablanca, again", "Casablanca (film)") for i in range(LINKED_WITHIN))
    assert not is_linked([FILM], {"again": ranking(*others, MAN)})  # the same page's other parts, and one beyond
    assert not is_linked([FILM], {"again": ranking(Passage("p", "text"))})
    assert not is_linked([FILM], {"again": ranking(Passage("p", "text", "Michael"))})  # one word may be chance


def test_another_page_is_named_if_its_title_has_a_word_that_the_best_page_lacks():
    assert names_another("Is bread older than Casablanca?", ranking(FILM, MAN, BREAD))
    assert not names_another("Is baking older than Casablanca?", ranking(FILM, MAN, BREAD))
    assert not names_another("Who directed Casablanca?", ranking(FILM, Passage("p", "text", "Casablanca")))
    assert not names_another("Is bread older than Casablanca?", ranking(FILM, *[MAN] * NAMED_WITHIN, BREAD))


def test_a_question_that_names_two_pages_is_open():
    asked = "Which is older, bread or Casablanca?"
    assert is_open(asked, ranking(FILM, BREAD), {"again": ()})
    assert not is_open(asked, ranking(FILM, MAN), {"again": ()})


def test_what_a_settled_question_found_again_is_left_out():
    library = Library(BREAD, FILM, Passage("other", "He was no director.", "Other Michael"))
    (found,) = search_rounds(library, [(ASKED, (ASKED,))], 5, "auto")
    assert (found.ranking, found.second) == (ranking(FILM), None)
    assert len(library.asked) == 2
    (found,) = search_rounds(library, [(ASKED, (ASKED,))], 5, 2)
    assert ids(found.ranking) == ["film", "other"]


def test_all_of_the_first_round_is_kept_and_at_most_k_others_in_turn():
    one = ranking(*(Passage(f"a{i}", "") for i in range(3)))
    two = ranking(Passage("a2", ""), *(Passage(f"b{i}", "") for i in range(3)))
    three = ranking(*(Passage(f"c{i}", "") for i in range(3)))
    found = unite("", one, {"two": two, "three": three}, 3)
    assert ids(found.ranking) == ["a0", "a2", "c0", "a1", "b0", "c1"]
    assert found.second.found == {"b0", "c0", "c1"}
    assert found.second.queries == ("two", "three")
    assert [c.score for c in found.ranking] == [1 / place for place in range(1, 7)]


def test_pages_that_the_question_or_a_start_names_come_first_in_their_search():
    others = [Passage(f"p{i}", "text", f"P{i}") for i in range(4)]
    found = unite(ASKED, ranking(others[0], FILM), {"again": ranking(*others[1:], MAN)}, 2)
    assert ids(found.ranking) == ["film", "man", "p0", "p1"]
    assert found.second.found == {"man", "p1"}


def test_a_second_round_that_finds_nothing_new_is_named_all_the_same():
    found = unite(ASKED, ranking(FILM, MAN), {"again": ranking(MAN)}, 5)
    assert (set(ids(found.ranking)), found.second.found) == ({"film", "man"}, frozenset())


def test_a_second_round_works_in_every_home_of_an_index(store, encoder, monkeypatch):
    store.put([SourcePassages(f"{passage.id}.md", "0", (passage,)) for passage in (BREAD, FILM, MAN)])
    store.fill_vectors(encoder)
    asked = []
    encode = encoder.encode_queries
    monkeypatch.setattr(encoder, "encode_queries", lambda texts: asked.extend(texts) or encode(texts))
    for retriever in (store.lexical(), store.hybrid(encoder)):
        (found,) = search_rounds(retriever, [(ASKED, (ASKED,))], 1, "auto")
        assert (ids(found.ranking), found.second.found) == (["film", "man"], {"man"})
    assert asked == [ASKED]  # the second round is by words alone
