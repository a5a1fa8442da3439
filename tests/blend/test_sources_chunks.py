"""Ranking labels nobody wrote: chunks of a document, labelled by what they share with the answer (paper, 4.2.1)."""

from __future__ import annotations

import pytest

from rankrag.blend.sources import parse_record
from rankrag.config.blend import SourceConfig

ANSWER = "red green blue white black grey pink"  # four 4-grams
FIRST = "red green blue white black grey pink one two three four five six seven eight nine ten eleven twelve more"
"""A chunk that holds the answer, so that no row is left out."""


def record_of(text, answers=(ANSWER,), words=20, **thresholds):
    """Return the record of a document and its passages."""
    fields = {"name": "s", "rows": "r", "kinds": ["context_ranking"], "chunk_words": words} | thresholds
    row = {"id": "q", "question": "Colours?", "answers": list(answers), "contexts": [{"title": "C", "text": text}]}
    record = parse_record(SourceConfig.model_validate(fields), row, "rows:1", passages := {})
    return record, list(passages.values())


def label_of(text, **options):
    """Return the label of a chunk that stands after one that holds the answer."""
    chunk = " ".join([*text.split(), *(f"w{i}" for i in range(20 - len(text.split())))])
    record, (_, second) = record_of(f"{FIRST} {chunk}", **options)
    places = {"relevant": record.positives, "irrelevant": record.negatives, "unclear": record.unclear}
    return next(label for label, ids in places.items() if second.id in ids)


def test_chunks_have_all_words_once_in_order_and_the_title_of_the_document():
    text = ANSWER + "\n" + "\n".join(f"word{i}" for i in range(394))
    _, chunks = record_of(text, words=150)
    assert [len(chunk.text.split()) for chunk in chunks] == [150, 150, 101]
    assert " ".join(chunk.text for chunk in chunks).split() == text.split()
    assert [chunk.id.rpartition("/")[2] for chunk in chunks] == ["0", "1", "2"]
    assert {chunk.title for chunk in chunks} == {"C"}


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
    assert label_of(text) == label


def test_the_best_of_several_answers_counts():
    assert label_of(ANSWER, answers=("something else entirely here", ANSWER)) == "relevant"


def test_the_thresholds_can_be_moved():
    assert label_of("red green blue white black", relevant_above=0.4) == "relevant"
    assert label_of("red green blue white", irrelevant_below=0.3) == "irrelevant"
