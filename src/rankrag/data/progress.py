"""Saying how far long work is: one helper around every loop that may take minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

Progress = Callable[[str, int, int], None]
"""Gets what is being done, how much of it is done, and how much there is; 0 where that is not known."""

_EVERY = 500


def quiet(text: str, done: int, total: int) -> None:
    """Report nothing."""


def watched(items: Iterable[T], progress: Progress, text: str, total: int = 0) -> Iterator[T]:
    """Yield the items as they are and tell `progress` of the start, of every 500 that went through, and of the end."""
    number = 0
    progress(text, 0, total)
    for number, item in enumerate(items, start=1):
        yield item
        if number % _EVERY == 0:
            progress(text, number, total)
    progress(text, number, total)
