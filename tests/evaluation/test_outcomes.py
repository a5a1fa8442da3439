from __future__ import annotations

import pytest

from rankrag.evaluation.lines import OUTCOMES
from rankrag.evaluation.outcomes import lost_by


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


def test_every_outcome_has_a_meaning_and_right_comes_first():
    assert next(iter(OUTCOMES)) == "right"
    assert all(OUTCOMES.values())
