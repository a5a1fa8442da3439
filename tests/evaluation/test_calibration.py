from __future__ import annotations

import pytest

from rankrag.evaluation.calibration import (
    Bin,
    Calibration,
    Risk,
    calibration,
    reliability,
    risk_coverage,
)
from rankrag.evaluation.lines import QuestionLine, Seconds


def test_a_plot_has_the_bins_that_hold_something_and_one_is_in_the_last():
    bins = reliability([(0.1, 0), (0.3, 1), (1.0, 1)], bins=2)
    assert bins == (Bin(2, 0.2, 0.5), Bin(1, 1.0, 1.0))
    assert Calibration(bins).passages == 3
    assert Calibration(bins).ece == pytest.approx(0.2)
    assert Calibration(reliability([])).ece is None


def test_each_threshold_answers_more_and_equal_questions_go_together():
    curve = risk_coverage([(0.9, 0), (0.5, 1), (0.5, 0), (0.1, 1)])
    assert curve == (Risk(0.25, 0.0), Risk(0.75, 1 / 3), Risk(1.0, 0.5))
    assert Calibration(risks=curve).aurc == pytest.approx(0.5 / 3 + 0.25 * 0.5)
    assert Calibration(risks=curve).wrong == 0.5
    assert risk_coverage([]) == ()
    assert (Calibration().aurc, Calibration().wrong) == (None, None)


def test_the_lines_of_a_system_say_how_far_it_can_be_believed():
    def line(gold, p_true, answer, outcome):
        ids = tuple("abc"[: len(p_true)])
        return QuestionLine(
            "s", "m", "q", "?", (), (), gold, ids, ids, p_true, ids[:1], answer, outcome, {}, {}, Seconds()
        )

    lines = [
        line(("a",), (0.95, 0.25), "x", "right"),
        line((), (0.5,), "y", "misread"),
        line(("a",), (), None, "right"),
    ]
    # P(True) .95 and .25 of a gold passage and another: off by .05 and .25. The wrong answer is the less sure one.
    bins = (Bin(1, 0.25, 0.0), Bin(1, 0.95, 1.0))
    risks = (Risk(0.5, 0.0), Risk(1.0, 0.5))
    found = calibration(lines)
    assert found == Calibration(bins, risks, 2)
    assert (found.ece, found.aurc) == (pytest.approx(0.15), pytest.approx(0.25))
    assert calibration(lines[2:]) == Calibration()
