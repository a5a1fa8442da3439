"""Pairs that wait for the model, in an order that is fair between clients."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator

from rankrag.server.work import Judging, Pair


class FairQueue:
    """Requests by client. A client's own requests are served in their order; clients take turns pair by pair."""

    def __init__(self) -> None:
        self._clients: OrderedDict[str, deque[Judging]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._clients.values()))

    def __iter__(self) -> Iterator[Judging]:
        return (work for queue in self._clients.values() for work in queue)

    def add(self, work: Judging) -> None:
        """Put a request behind the others of its client."""
        self._clients.setdefault(work.ticket.client, deque()).append(work)

    def take(self, tokens: int, estimate: Callable[[Pair], int]) -> list[tuple[Judging, Pair]]:
        """Take one pair from each client in rotation until they hold about so many tokens, or none is left.

        The next batch begins with another client.
        """
        batch: list[tuple[Judging, Pair]] = []
        while tokens > 0 and (ready := [w for queue in self._clients.values() if (w := _untaken(queue))]):
            for work in ready:
                pair = work.pairs[work.taken]
                work.taken += 1
                batch.append((work, pair))
                tokens -= estimate(pair)
        if self._clients:
            self._clients.move_to_end(next(iter(self._clients)))
        return batch

    def end(self, is_over: Callable[[Judging], bool]) -> list[Judging]:
        """Remove the requests that are over, and return them."""
        over = [work for work in self if is_over(work)]
        for work in over:
            self._clients[work.ticket.client].remove(work)
        for client in [client for client, queue in self._clients.items() if not queue]:
            del self._clients[client]
        return over


def _untaken(queue: deque[Judging]) -> Judging | None:
    """Return the first request of a client that has pairs left, if there is one."""
    return next((work for work in queue if work.taken < len(work.pairs)), None)
