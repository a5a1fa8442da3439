from __future__ import annotations

import pytest

from rankrag.evaluation.lines import OUTCOMES
from rankrag.evaluation.outcomes import is_right, lost_by
from rankrag.types import Question


@pytest.mark.parametrize(
    ("needed", "contexts", "all_needed", "step"),
    [
        ("ab", "a", False, None),
        ("ab", "ab", True, None),
        ("xy", "a", False, "not retrieved"),
        ("ax", "a", True, "not retrieved"),
        ("bc", "a", False, "ranked away"),
        ("b", "a", True, "ranked away"),
        ("ab", "a", True, "beyond k"),
        ("", "a", False, "not retrieved"),
    ],
)
def test_the_first_step_that_loses_what_is_needed_is_named(needed, contexts, all_needed, step):
    assert lost_by(needed, "abc", contexts, len(contexts), all_needed=all_needed) == step


def test_two_passages_that_would_fit_are_ranked_away_and_not_beyond_k():
    assert lost_by("ab", "abc", "ac", 2, all_needed=True) == "ranked away"
    assert lost_by("abc", "abc", "ac", 2, all_needed=True) == "beyond k"


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("COPY takes text, CSV (comma separated) and binary files.", True),
        ("1. binary\n2. csv\n3. texts", True),
        ("text and csv", False),
        ("The context has csv and binary.", False),  # an item begins a word
        ("either of both", True),  # an accepted answer
        ("", False),
    ],
)
def test_a_list_is_right_if_all_its_items_are_named(reply, right):
    asked = Question("q", "In which formats?", answers=("either of both",), items=("text", "csv", "Binary"))
    assert is_right(asked, reply, {}) == right


def test_every_outcome_has_a_meaning_and_right_comes_first():
    assert next(iter(OUTCOMES)) == "right"
    assert all(OUTCOMES.values())
