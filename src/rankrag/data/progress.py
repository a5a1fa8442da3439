"""Progress of long work: one signature, and one helper around loops that may take minutes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")

Progress = Callable[[str, int, int], None]
"""Hears what is being done, how much of it is done, and how much there is; 0 if that is not known."""

_EVERY = 500


def quiet(text: str, done: int, total: int) -> None:
    """Report nothing."""


def watched(items: Iterable[T], progress: Progress, text: str, total: int = 0) -> Iterator[T]:
    """Yield the items and report the start, every 500th item, and the end."""
    number = 0
    progress(text, 0, total)
    for number, item in enumerate(items, start=1):
        yield item
        if number % _EVERY == 0:
            progress(text, number, total)
    progress(text, number, total)
