"""The limits of the house: what `python -m experiments.measure_house . --offenders` prints, as tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.measure_house import FUNCTION_AT_MOST, FUNCTION_P90, House, measure


@pytest.fixture(scope="module")
def house() -> House:
    return measure(Path(__file__).parents[1] / "src" / "rankrag")


def test_no_function_is_longer_than_60_lines(house):
    long = [f"{f.place}: {f.name}, {f.lines} lines" for f in house.functions if f.lines > FUNCTION_AT_MOST]
    assert long == []


def test_nine_functions_in_ten_have_at_most_22_lines(house):
    assert house.function_lines(0.9) <= FUNCTION_P90


def test_every_function_is_typed(house):
    assert [f"{f.place}: {f.name}" for f in house.functions if not f.typed] == []


def test_no_class_of_ours_is_called_with_more_than_six_positional_arguments(house):
    assert house.wide_calls == ()


def test_no_public_class_or_function_name_is_used_twice(house):
    assert house.twice == {}
