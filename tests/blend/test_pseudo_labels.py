from __future__ import annotations

import pytest

from rankrag.blend.pseudo_labels import labelled_chunks
from rankrag.types import Passage

ANSWER = "red green blue white black grey pink"  # four 4-grams


def labels_of(text, answers=(ANSWER,), words=10, above=0.5, below=0.1):
    document = Passage("s/d", text, "Colours")
    return labelled_chunks(document, answers, words=words, relevant_above=above, irrelevant_below=below)


def filled(text, words=10):
    """Fill up a chunk with words that the answer does not have."""
    return " ".join([*text.split(), *(f"w{i}" for i in range(words - len(text.split())))])


def test_chunks_have_all_words_once_in_order_and_the_title_of_the_document():
    text = "\n".join(f"word{i}" for i in range(401))
    chunks = labels_of(text, words=150)
    assert [len(c.passage.text.split()) for c in chunks] == [150, 150, 101]
    assert " ".join(c.passage.text for c in chunks).split() == text.split()
    assert [c.passage.id for c in chunks] == ["s/d/0", "s/d/1", "s/d/2"]
    assert {c.passage.title for c in chunks} == {"Colours"}


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (ANSWER, "relevant"),  # 4 of 4 grams
        ("red green blue white black grey", "relevant"),  # 3 of 4
        ("red green blue white black", "unclear"),  # 2 of 4: not above one half
        ("red green blue white", "unclear"),  # 1 of 4
        ("red blue green white", "irrelevant"),  # none in order
    ],
)
def test_a_chunk_is_labelled_by_its_share_of_the_answers_four_grams(text, label):
    (chunk,) = labels_of(filled(text))
    assert chunk.label == label


def test_the_best_of_several_answers_counts():
    (chunk,) = labels_of(filled(ANSWER), answers=("something else entirely here", ANSWER))
    assert chunk.label == "relevant"


def test_the_thresholds_can_be_moved():
    (chunk,) = labels_of(filled("red green blue white black"), above=0.4)
    assert chunk.label == "relevant"
    (chunk,) = labels_of(filled("red green blue white"), below=0.3)
    assert chunk.label == "irrelevant"
