"""What waits in the queue: pairs to judge, functions to call, answers to write, and whose they are."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rankrag.errors import RankragError
from rankrag.models import SamplingParams
from rankrag.rerank import Judgement
from rankrag.types import Passage, Question

Pair = tuple[Question, Passage]

log = logging.getLogger(__name__)


class BusyError(RankragError):
    """The queue is full; `retry_after` says in how many seconds a client may ask again."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the server is busy; try again in {retry_after} s")
        self.retry_after = retry_after


class GoneError(RankragError):
    """The client went away, or the server stops, before the work was done."""


@dataclass(eq=False)
class Ticket:
    """One request's place in the queue: who asks, and until when (monotonic seconds) an answer is of use."""

    client: str = ""
    deadline: float | None = None
    cancelled: bool = False

    @property
    def late(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and time.monotonic() >= self.deadline


@dataclass(eq=False)
class Judging:
    """Pairs of one request; `taken` of them are judged or being judged, and `enough` may end it early."""

    pairs: Sequence[Pair]
    ticket: Ticket
    enough: Callable[[Sequence[Judgement]], bool]
    done: Promise
    judged: list[Judgement] = field(default_factory=list)
    taken: int = 0


@dataclass(eq=False)
class Call:
    """A function that the model's thread calls."""

    function: Callable[[], Any]
    ticket: Ticket
    done: Promise


@dataclass(eq=False)
class Writing:
    """An answer to write; `begun` are its pieces once it is streamed, `left` says that nobody reads it any more."""

    question: Question
    contexts: Sequence[Passage]
    params: SamplingParams | None
    ticket: Ticket
    pieces: asyncio.Queue[str | BaseException | None]
    loop: asyncio.AbstractEventLoop
    begun: Iterator[str] | None = None
    left: bool = False

    def put(self, piece: str | BaseException | None) -> None:
        """Hand a piece to the waiting request; None ends the answer."""
        tell_loop(self.loop, self.pieces.put_nowait, piece)


class Promise:
    """A future of an event loop that another thread fulfils."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = self._loop.create_future()

    def give(self, result: object) -> None:
        """Fulfil it."""
        tell_loop(self._loop, self._settle, result, None)

    def fail(self, error: BaseException) -> None:
        """Break it."""
        tell_loop(self._loop, self._settle, None, error)

    def _settle(self, result: object, error: BaseException | None) -> None:
        if not self.future.done():
            if error is None:
                self.future.set_result(result)
            else:
                self.future.set_exception(error)


def tell_loop(loop: asyncio.AbstractEventLoop, function: Callable[..., object], *arguments: object) -> None:
    """Call a function in an event loop; one that is closed already has nobody waiting."""
    try:
        loop.call_soon_threadsafe(function, *arguments)
    except RuntimeError:
        log.debug("the event loop is closed")
