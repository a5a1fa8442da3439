"""Work done side by side, with its results in the order of its items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 4
"""Items for each worker that are begun before the oldest of them has to be done."""


def in_order(function: Callable[[T], R], items: Iterable[T], *, at_once: int = 1) -> Iterator[R]:
    """Yield what the function returns for each item, in the order of the items; `at_once` items are worked on together.

    Items are taken as they are needed, a few ahead. The first error, in the order of the items, is raised; what was not
    begun by then is not done.
    """
    if at_once == 1:
        yield from map(function, items)
        return
    threads = ThreadPoolExecutor(at_once)
    begun: deque[Future[R]] = deque()
    try:
        for item in items:
            begun.append(threads.submit(function, item))
            if len(begun) >= AHEAD * at_once:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)
