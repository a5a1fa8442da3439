from __future__ import annotations

import pytest

from rankrag.blend.estimate import group_tokens, token_counter
from rankrag.errors import ConfigError
from rankrag.types import DataKind, Example, Message, Passage, Question


def test_words_count_one_point_three_tokens():
    assert token_counter(None)("one two three four five six seven eight nine ten") == 13


def test_a_tokenizer_counts_its_own_tokens(tmp_path, tokenizer):
    tokenizer.save_pretrained(tmp_path)
    text = "assess whether the passage is relevant"
    assert token_counter(str(tmp_path))(text) == len(tokenizer.encode(text, add_special_tokens=False)) > 6


def test_a_tokenizer_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot be loaded"):
        token_counter(str(tmp_path / "none"))


def test_a_passage_that_examples_share_counts_once():
    question = Question("q", "one two", (Message("user", "three"),))
    passage = Passage("p", "five six seven", "title")
    group = [Example(DataKind.CONTEXT_QA, "s", question, (passage,), "four")] * 2
    assert group_tokens(group, lambda text: len(text.split())) == 4 + 2 * 4
