from __future__ import annotations

from collections import Counter

import pytest

from rankrag.blend.weights import Slot, drawn
from rankrag.errors import ConfigError
from rankrag.types import DataKind, Example, Passage, Question

RANKING, QA = DataKind.CONTEXT_RANKING, DataKind.CONTEXT_QA


def slot(kind, examples):
    return Slot(f"s/{kind}", "s", frozenset({kind}), examples)


def groups_of(kinds, rng):
    """Ten passages with two ranking examples and one QA example each; the target differs from pass to pass."""
    for number in range(10):
        passage = Passage(f"p{number}", "text")
        of = [(RANKING, "a"), (RANKING, "b"), (QA, "c")]
        target = str(rng.random())
        yield [Example(k, "s", Question(f"{number}{q}", "?"), (passage,), target) for k, q in of if k in kinds]


def kinds(groups):
    return Counter(e.kind for group in groups for e in group)


def test_each_slot_has_its_number_and_a_small_source_is_gone_through_again():
    groups = list(drawn([slot(RANKING, 50), slot(QA, 7)], groups_of, "seed"))
    assert kinds(groups) == {RANKING: 50, QA: 7}
    assert len({e.target for group in groups for e in group}) > 10


def test_examples_of_one_passage_stay_together():
    groups = list(drawn([slot(RANKING, 20), slot(QA, 10)], groups_of, "seed"))
    assert [len(group) for group in groups] == [3] * 10


def test_a_slot_over_several_kinds_takes_them_as_they_come():
    both = Slot("s", "s", frozenset({RANKING, QA}), 30)
    assert kinds(drawn([both], groups_of, "seed")) == {RANKING: 20, QA: 10}


def test_without_numbers_everything_is_taken_once():
    both = Slot("s", "s", frozenset({RANKING, QA}), None)
    assert kinds(drawn([both], groups_of, "seed")) == {RANKING: 20, QA: 10}


def test_the_same_seed_draws_the_same():
    first, same, other = (list(drawn([slot(QA, 25)], groups_of, seed)) for seed in "aab")
    assert first == same != other


def test_a_slot_that_nothing_is_made_for_is_named():
    with pytest.raises(ConfigError, match="no example for s/retrieval_qa"):
        list(drawn([slot(QA, 3), slot(DataKind.RETRIEVAL_QA, 3)], groups_of, "seed"))
