from __future__ import annotations

import random

import pytest

from rankrag.blend.writing import Distinct, disagree, unfit, unsupported
from rankrag.matching import near_duplicate

TEXT = "The Tagus is about 1,007 kilometres long and ends at Lisbon."


@pytest.mark.parametrize(
    ("question", "why"),
    [
        ("How long is the Tagus in kilometres?", ""),
        ("", "nothing written"),
        ("The Tagus is long.", "not a question"),
        ("How long?", "not 4 to 30 words"),
        ("How " * 31 + "long?", "not 4 to 30 words"),
        ("What does the passage say of the Tagus?", "speaks of the passage"),
        ("According to the text, how long is the Tagus?", "speaks of the passage"),
        ("What is the main idea of the following short passage?", "speaks of the passage"),
        ("Which river is described above in the table?", "speaks of the passage"),
        ("Who wrote the articles of the constitution of Portugal?", ""),
        ("Where does the sea passage of Panama begin?", ""),
    ],
)
def test_a_question_must_stand_without_its_passage(question, why):
    assert unfit(question) == why


@pytest.mark.parametrize(
    ("question", "answer", "why"),
    [
        ("How long is the Tagus?", "about 1,007 kilometres", ""),
        ("How long is the Tagus?", "", "no answer"),
        ("How long is the Tagus?", "Sorry. I cannot find the answer based on the context.", "no answer"),
        ("How long is the Tagus?", "1,700 kilometres", "answer is not in the passage"),
        ("What is the Tagus called?", "the Tagus", "answer is in the question"),
    ],
)
def test_an_answer_must_stand_in_the_passage_and_not_in_the_question(question, answer, why):
    assert unsupported(question, answer, TEXT) == why


@pytest.mark.parametrize(
    ("proposed", "reply", "differ"),
    [
        ("1,007 kilometres", "about 1,007 kilometres", False),
        ("The Tagus.", "tagus", False),
        ("Lisbon", "1,007 kilometres", True),
        ("Lisbon", "", True),
    ],
)
def test_two_answers_agree_where_one_holds_the_other(proposed, reply, differ):
    assert disagree(proposed, reply) == differ


@pytest.mark.parametrize("seed", range(5))
def test_distinct_keeps_what_comparing_every_pair_keeps(seed):
    rng = random.Random(seed)
    words = ["which", "river", "of", "the", "north", "is", "long", "and", "where", "does", "it", "end", "now"]
    questions = [" ".join(rng.choices(words, k=rng.randint(1, 12))) for _ in range(200)]
    slow: list[str] = []
    for question in questions:
        if not any(near_duplicate(question, kept) for kept in slow):
            slow.append(question)
    distinct = Distinct()
    assert [question for question in questions if distinct.add(question)] == slow
    assert len(slow) < len(questions)
