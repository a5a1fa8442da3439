"""Answers that are quotations: which sentence is learnt, and which questions have none."""

from __future__ import annotations

import random

import pytest

from rankrag.blend.kinds import PassageList, neighbours, qa_examples, retrieval_qa_examples, target_of
from rankrag.blend.sources import QuestionSet, Record
from rankrag.config.blend import SourceConfig
from rankrag.types import Passage, Question

GOLD = Passage("gold", "The Otter rises at Ashford.\nIt flows\n past two mills. Its mouth is at Derby, not at Ashford.")
OTHER = Passage("other", "Ashford is a town where the Otter ends in nothing but fields.")
QUOTES = SourceConfig(name="rivers", rows="r", style="conversation", qa=4, unanswerable=0, quotes=True)


def asked(text: str, *answers: str) -> Record:
    return Record(Question(text, text, answers=answers), ("gold",))


@pytest.mark.parametrize(
    ("record", "quoted"),
    [
        (asked("What does it flow past?", "two mills"), "It flows past two mills."),
        (asked("Where does the Otter rise?", "Ashford"), "The Otter rises at Ashford."),
        (asked("Where is its mouth not?", "ashford"), "Its mouth is at Derby, not at Ashford."),
        (asked("Why?", "Ashford"), ""),  # two sentences hold it, and the question points to neither
        (asked("Who built the mills?", "the monks"), ""),
    ],
)
def test_the_sentence_of_a_gold_passage_that_holds_the_answer_is_learnt(record, quoted):
    assert target_of(QUOTES, record, [OTHER, GOLD]) == quoted


def test_a_sentence_that_is_too_long_is_not_learnt():
    record = asked("Where is its mouth?", "Derby")
    assert target_of(QUOTES.model_copy(update={"max_answer_words": 8}), record, [GOLD])
    assert target_of(QUOTES.model_copy(update={"max_answer_words": 7}), record, [GOLD]) == ""


def test_without_quotes_and_with_a_reply_nothing_is_quoted():
    record = asked("What does it flow past?", "two mills")
    assert target_of(QUOTES.model_copy(update={"quotes": False}), record, [GOLD]) == "two mills"
    assert target_of(QUOTES, Record(record.question, ("gold",), reply="Two."), [GOLD]) == "Two."


def test_a_question_that_nothing_can_be_quoted_for_is_left_out_and_counted():
    records = (asked("What does it flow past?", "two mills"), asked("Who built the mills?", "the monks"))
    source = QuestionSet("rivers", records, {"gold": GOLD, "other": OTHER})
    found = PassageList((OTHER, GOLD), records, ())
    examples = list(retrieval_qa_examples(source, QUOTES, found, random.Random(0)))
    (near,) = neighbours(source, [(), ()])
    examples += qa_examples(source, QUOTES, near, random.Random(0))
    assert [e.target for e in examples] == ["It flows past two mills."] * 2
    assert source.dropped == {"no answer": 2}
