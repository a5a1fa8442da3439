from __future__ import annotations

import pytest

from rankrag.matching import contains, contains_any, has_answer, near_duplicate, ngram_recall, normalise


def test_normalising_drops_case_punctuation_articles_and_space():
    assert normalise("  The U.S. of\tan Act! ") == "us of act"


@pytest.mark.parametrize(
    ("text", "phrase", "expected"),
    [
        ("He lived in the Paris region.", "paris", True),
        ("comparison", "paris", False),
        ("new york city", "york new", False),
        ("anything", "", False),
        ("anything", "the", False),
    ],
)
def test_a_text_contains_whole_words_in_order(text, phrase, expected):
    assert contains(text, phrase) is expected


@pytest.mark.parametrize(
    ("text", "phrase", "expected"),
    [
        ("橋の長さは二百十メートルです。", "二百十メートル", True),
        ("大桥长二百一十米，宽九米。", "宽九米", True),
        ("大桥长二百一十米，宽九米。", "宽八米", False),
        ("สะพานยาวสองร้อยเมตร", "สองร้อยเมตร", True),
        ("橋は210メートルです。", "210", True),
        ("Die Brücke ist 210 Meter lang.", "橋", False),
    ],
)
def test_scripts_without_spaces_are_compared_character_by_character(text, phrase, expected):
    assert contains(text, phrase) is expected
    assert has_answer(text, [phrase]) is expected


def test_punctuation_of_other_scripts_does_not_count():
    assert normalise("「二百十メートル」。") == normalise("二百十メートル")
    assert normalise("“Lisbon”") == "“lisbon”"  # as SQuAD's scorer


def test_one_of_several_phrases_is_enough():
    assert contains_any("The Tagus.", ["Ebro", "tagus"])
    assert not contains_any("The Tagus.", ["Ebro", ""])


@pytest.mark.parametrize(
    ("text", "answer", "expected"),
    [
        ("one two three four five", "one two three four", 1.0),
        ("one two three four", "one two three four five", 0.5),
        ("one two", "two", 1.0),
        ("one two", "two one", 0.0),
        ("one two", "", 0.0),
    ],
)
def test_ngram_recall_is_the_share_of_the_answers_ngrams(text, answer, expected):
    assert ngram_recall(text, answer) == expected


def test_near_duplicates_share_most_words():
    assert near_duplicate("one two three four five", "Five four three two one!")
    assert not near_duplicate("one two", "one three")
    assert not near_duplicate("", "")


@pytest.mark.parametrize(
    ("text", "answer", "expected"),
    [
        ("in the U.S. of A", "u.s.", True),
        ("in the US of A", "U.S.", False),
        ("São Paulo grew", "são paulo", True),
        ("Sao Paulo grew", "são paulo", False),
        ("a report", "port", False),
        ("anything", "", False),
    ],
)
def test_dprs_rule_keeps_marks_and_punctuation(text, answer, expected):
    assert has_answer(text, [answer]) is expected
