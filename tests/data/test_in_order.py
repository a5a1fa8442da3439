from __future__ import annotations

import threading

import pytest

from rankrag.data.in_order import AHEAD, in_order


@pytest.mark.parametrize("at_once", [1, 3])
def test_results_come_in_the_order_of_the_items(at_once):
    assert list(in_order(lambda n: n * n, range(50), at_once=at_once)) == [n * n for n in range(50)]


def test_items_are_worked_on_together_and_a_slow_one_does_not_change_the_order():
    other = threading.Event()

    def work(n):
        if n == 1:
            other.set()
        assert n != 0 or other.wait(10)  # the first is done only when the second was begun
        return n

    assert list(in_order(work, range(4), at_once=2)) == [0, 1, 2, 3]


def test_no_more_items_are_taken_than_are_begun_ahead():
    taken = []
    results = in_order(lambda n: n, (taken.append(n) or n for n in range(100)), at_once=2)
    assert next(results) == 0
    assert len(taken) == 2 * AHEAD


@pytest.mark.parametrize("at_once", [1, 2])
def test_the_first_error_is_raised_after_the_results_before_it(at_once):
    def work(n):
        if n >= 3:
            raise ValueError(n)
        return n

    results = in_order(work, range(100), at_once=at_once)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="3"):
        next(results)
