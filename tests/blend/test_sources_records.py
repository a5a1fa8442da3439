from __future__ import annotations

import pytest

from rankrag.blend.sources import parse_record
from rankrag.config.blend import SourceConfig
from rankrag.data.public import LeftOut
from rankrag.errors import DataError

CONTEXTS = [{"title": "table", "text": "a | b"}, {"title": "", "text": "The sum is in the table."}]


def parsed(row, passages=None, **fields):
    wanted = SourceConfig.model_validate({"name": "s", "rows": "r", "kinds": ["context_qa"]} | fields)
    return parse_record(wanted, {"id": "q", "question": "How much?", "answers": ["b"]} | row, "rows:1", passages)


def test_the_contexts_of_a_row_are_one_document_that_its_questions_share():
    passages = {}
    first = parsed({"contexts": CONTEXTS}, passages)
    second = parsed({"id": "r", "contexts": CONTEXTS}, passages)
    other = parsed({"id": "t", "contexts": CONTEXTS[:1]}, passages)
    assert first.positives == second.positives != other.positives
    assert len(passages) == 2
    assert passages[first.positives[0]].text == "a | b\n\nThe sum is in the table."
    assert passages[other.positives[0]].title == "table"


def test_a_document_that_does_not_answer_is_near_and_not_gold():
    record = parsed({"contexts": CONTEXTS, "answers": []}, passages := {})
    assert record.positives == ()
    assert record.near == tuple(passages)


def test_the_style_is_that_of_the_source():
    assert parsed({"contexts": CONTEXTS}, {}, style="arithmetic").question.style == "arithmetic"


def test_of_a_multiple_choice_the_letter_is_learnt():
    row = {"contexts": CONTEXTS, "options": {"A": "yes", "B": "no"}, "label": "B"}
    question = parsed(row, {}, style="choice").question
    assert (question.options, question.answers) == (("yes", "no"), ("B",))
    assert parsed(row, {}).question.options == ()


def test_a_choice_without_a_right_option_names_the_row():
    row = {"contexts": CONTEXTS, "options": {"A": "yes", "B": "no"}, "label": "C"}
    with pytest.raises(DataError, match=r"rows:1: the right option must be one of A, B \(found: 'C'\)"):
        parsed(row, {}, style="choice")


def test_a_document_that_is_too_long_is_left_out():
    assert parsed({"contexts": CONTEXTS}, {}, max_context_words=9)
    with pytest.raises(LeftOut, match="document longer than 8 words"):
        parsed({"contexts": CONTEXTS}, {}, max_context_words=8)


def test_a_document_is_cut_into_chunks_and_the_unclear_ones_are_neither_positive_nor_negative():
    answer = "red green blue white black grey pink"
    chunks = [answer, "red green blue white black", "nothing of it"]
    text = " ".join(" ".join([*c.split(), *(f"w{i}" for i in range(20 - len(c.split())))]) for c in chunks)
    row = {"contexts": [{"text": text}], "answers": [answer]}
    record = parsed(row, passages := {}, kinds=["context_ranking"], chunk_words=20)
    ids = list(passages)
    assert (record.positives, record.unclear, record.negatives) == ((ids[0],), (ids[1],), (ids[2],))


@pytest.mark.parametrize(
    ("answers", "reason"), [([], "no answer to label chunks by"), (["not in it"], "no chunk holds the answer")]
)
def test_a_document_without_a_relevant_chunk_is_left_out(answers, reason):
    with pytest.raises(LeftOut, match=reason):
        parsed({"contexts": CONTEXTS, "answers": answers}, {}, kinds=["context_ranking"], chunk_words=20)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"contexts": []}, "'contexts' must be a list of passages"),
        ({"contexts": [{"words": "t"}]}, "candidate 0: no passage"),
        ({"answers": "b"}, "'answers' must be a list of texts"),
        ({"candidates": [{"text": "b"}]}, "candidate 0 has no 'label'"),
        ({"question": None}, "no question, it needs 'question'"),
    ],
)
def test_a_row_that_misses_a_field_is_named(row, problem):
    with pytest.raises(DataError, match=f"rows:1: {problem}"):
        parsed(row, {})


def test_a_reply_that_is_too_long_is_left_out():
    messages = [{"role": "user", "content": "Say three words."}, {"role": "assistant", "content": "one two three"}]
    row = {"messages": messages}
    assert parsed(row, {}, kinds=["sft"], max_answer_words=3, max_context_words=3).question.answers == (
        "one two three",
    )
    with pytest.raises(LeftOut, match="reply longer than 2 words"):
        parsed(row, {}, kinds=["sft"], max_answer_words=2)
    with pytest.raises(LeftOut, match="turns before the reply longer than 2 words"):
        parsed(row, {}, kinds=["sft"], max_context_words=2)


def test_a_row_that_was_left_out_when_it_was_made_keeps_its_reason():
    with pytest.raises(LeftOut, match="no answer"):
        parsed({"left_out": "no answer"})
