from __future__ import annotations

from rankrag.blend.estimate import group_tokens
from rankrag.types import DataKind, Example, Message, Passage, Question


def test_words_count_one_point_three_tokens_and_a_passage_that_examples_share_counts_once():
    question = Question("q", "1 2 3 4 5 6 7 8 9 10", (Message("user", "one"),))
    passage = Passage("p", " ".join(["word"] * 20))
    group = [Example(DataKind.CONTEXT_QA, "s", question, (passage,), "four words of target")] * 2
    assert group_tokens(group) == 26 + 2 * (13 + 1 + 5)
