from __future__ import annotations

import math

import pytest

from rankrag.errors import ContractError
from rankrag.generate import answer_many, encode_answer, is_refusal, sampling_for, stream_answer
from rankrag.models.fake import FakeLanguageModel
from rankrag.templates import UNANSWERABLE, Format, answer_prompt
from rankrag.types import Passage, Question

PASSAGE = Passage("p", "text")


def streamed(model, question, passages=(PASSAGE,)):
    return list(stream_answer(model, question, encode_answer(model, question, passages)))


@pytest.mark.parametrize(("style", "limit"), [("short", 32), ("claim", 8), ("choice", 8), ("conversation", 128)])
def test_the_papers_limits_hold_and_decoding_is_greedy(style, limit):
    params = sampling_for(Question("q", "x", style=style), Format())
    assert (params.max_new_tokens, params.temperature) == (limit, 0.0)


def test_a_question_that_asks_for_no_kind_of_answer_gets_the_models_own():
    question = Question("q", "How?")
    assert sampling_for(question, Format()).max_new_tokens == 32
    assert sampling_for(question, Format(style="conversation")).max_new_tokens == 128
    for style in ("short", "conversation"):
        wanted = answer_prompt(Format(), Question("q", "How?", style=style), [PASSAGE])
        assert answer_prompt(Format(style=style), question, [PASSAGE]) == wanted


def test_replies_come_in_the_order_of_the_questions_whatever_their_limits():
    model = FakeLanguageModel(reply=lambda prompt: next(s.text for s in prompt if s.text.startswith("ask")))
    questions = [Question("1", "ask1", style="claim"), Question("2", "ask2"), Question("3", "ask3", style="claim")]
    assert answer_many(model, [(q, [PASSAGE]) for q in questions]) == ["ask1", "ask2", "ask3"]


def test_options_are_answered_by_the_likeliest_letter_whatever_their_number():
    model = FakeLanguageModel(reply=lambda prompt: "C" if "three" in "".join(s.text for s in prompt) else "B")
    two = Question("1", "which", style="choice", options=("x", "y"))
    three = Question("2", "which of three", style="choice", options=("x", "y", "z"))
    assert answer_many(model, [(three, [PASSAGE]), (two, []), (Question("3", "ask"), []), (three, [])]) == [
        "C",
        "B",
        "B",
        "C",
    ]
    assert streamed(model, three) == ["C"]


def test_of_equally_likely_letters_the_first_is_taken():
    silent = FakeLanguageModel(reply="no letter")
    assert answer_many(silent, [(Question("1", "which", style="choice", options=("x", "y")), [])]) == ["A"]


def test_no_questions_give_no_replies():
    assert answer_many(FakeLanguageModel(), []) == []


def test_streamed_pieces_join_to_the_reply():
    pieces = streamed(FakeLanguageModel(reply="one two three"), Question("q", "x"))
    assert pieces == ["one", " two", " three"]


def test_streaming_keeps_to_the_limit_of_the_style():
    model = FakeLanguageModel(reply="1 2 3 4 5 6 7 8 9 10")
    assert "".join(streamed(model, Question("q", "x", style="claim"))) == "1 2 3 4 5 6 7 8"


@pytest.mark.parametrize("reply", ["", " \n", UNANSWERABLE, "sorry, I cannot find the answer", UNANSWERABLE + " Hm."])
def test_a_refusal_is_known_by_its_words(reply):
    assert is_refusal(reply)


@pytest.mark.parametrize("reply", ["Sorry seems to be the hardest word", "Lisbon"])
def test_an_answer_is_no_refusal(reply):
    assert not is_refusal(reply)


class Doubtful(FakeLanguageModel):
    """Refuses, with a probability of its own."""

    def choice_logprobs(self, prompts, choices):
        assert choices == ("Sorry",)  # a server may list few tokens
        return [[math.log(self.sure)] for _ in prompts]


@pytest.mark.parametrize(("sure", "said"), [(0.49, "another reply"), (0.5, UNANSWERABLE)])
def test_a_refusal_stands_where_it_is_likelier_than_all_else(sure, said):
    model = Doubtful(reply=UNANSWERABLE, sure=sure)
    assert answer_many(model, [(Question("q", "x"), [PASSAGE])]) == [said]
    assert "".join(streamed(model, Question("q", "x"))) == said


def test_only_what_was_refused_is_asked_again():
    model = Doubtful(
        reply=lambda prompt: UNANSWERABLE if "bad" in "".join(s.text for s in prompt) else "fine", sure=0.2
    )
    asked = [(Question("1", "good"), [PASSAGE]), (Question("2", "bad"), [PASSAGE])]
    assert answer_many(model, asked) == ["fine", "another reply"]
    assert len(model.prompts) == 3


def test_where_the_word_is_several_tokens_refusals_stand():
    class Several(FakeLanguageModel):
        def choice_logprobs(self, prompts, choices):
            raise ContractError("several tokens")

    assert answer_many(Several(reply=UNANSWERABLE), [(Question("q", "x"), [PASSAGE])]) == [UNANSWERABLE]


@pytest.mark.parametrize("reply", ["Sorry is the name of a song", "So what", "S", ""])
def test_a_reply_that_begins_like_a_refusal_comes_whole(reply):
    assert "".join(streamed(FakeLanguageModel(reply=reply), Question("q", "x"))) == reply
