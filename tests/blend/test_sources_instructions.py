from __future__ import annotations

from collections import Counter

import pytest

from rankrag.blend.kinds import sft_examples
from rankrag.blend.sources import QuestionSet, instruction_record
from rankrag.data.public import LeftOut
from rankrag.errors import DataError
from rankrag.templates import Format, example_prompt
from rankrag.types import DataKind, Message


def turns(*contents, roles=("user", "assistant")):
    return [{"role": roles[i % len(roles)], "content": text} for i, text in enumerate(contents)]


def record_of(messages):
    return instruction_record({"id": "i", "messages": messages}, "rows:1")


def test_the_last_reply_is_the_target_and_earlier_turns_are_history():
    question = record_of(turns("one", "two", "three", "four")).question
    assert (question.text, question.answers) == ("three", ("four",))
    assert question.history == (Message("user", "one"), Message("assistant", "two"))


def test_a_turn_of_the_user_after_the_last_reply_is_dropped():
    question = record_of(turns("one", "two", "three")).question
    assert (question.text, question.answers) == ("one", ("two",))


def test_what_the_system_says_stands_before_the_first_turn_of_the_user():
    messages = [{"role": "system", "content": "Be brief."}, *turns("one", "two", "three", "four")]
    question = record_of(messages).question
    assert question.history[0] == Message("user", "Be brief.\n\none")
    assert question.text == "three"


@pytest.mark.parametrize("messages", [[], turns("one"), turns("one", "  "), turns("hello", roles=("assistant",))])
def test_a_conversation_without_a_reply_is_left_out(messages):
    with pytest.raises(LeftOut, match="no reply"):
        record_of(messages)


@pytest.mark.parametrize("row", [{"id": "i", "text": "x"}, {"messages": []}, {"id": "i", "messages": "x"}])
def test_a_row_of_another_form_is_named(row):
    with pytest.raises(DataError, match="rows:7: no 'id' with 'messages'"):
        instruction_record(row, "rows:7")


def test_a_turn_of_an_unknown_role_is_named():
    with pytest.raises(DataError, match=r"rows:1: turn 1 of 'history'"):
        record_of(turns("one", "two", roles=("user", "tool")))


def test_an_example_has_no_passage_and_its_prompt_is_the_conversation_alone():
    (example,) = sft_examples(QuestionSet("s", (record_of(turns("one", "two", "three", "four")),), {}, Counter()))
    assert (example.kind, example.contexts, example.target) == (DataKind.SFT, (), "four")
    prompt, target = example_prompt(Format(), example)
    text = "".join(segment.text for segment in prompt)
    assert text.endswith("User: one\n\nAssistant: two\n\nUser: three\n\nAssistant:")
    assert "Passage" not in text
    assert target == "four"
