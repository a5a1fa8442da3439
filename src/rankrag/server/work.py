"""What waits in the queue: pairs to judge, functions to call, answers to write, and whose they are."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from rankrag.encoding import EncodedPrompt
from rankrag.errors import RankragError
from rankrag.models import SamplingParams
from rankrag.rerank import Judgement
from rankrag.types import Passage, Question, StateUse

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
    """One request's place in the queue.

    Attributes:
        client: who asks; clients take turns.
        deadline: until when an answer is of use, in monotonic seconds.
        cancelled: the client went away.
        states: kept passage states that judging its pairs used; None if the model keeps none, or if a batch held pairs
            of other clients as well, since the model counts by batch.
    """

    client: str = ""
    deadline: float | None = None
    cancelled: bool = False
    states: StateUse | None = field(default_factory=partial(StateUse, 0, 0))

    @property
    def late(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def count_states(self, used: StateUse | None) -> None:
        """Add what one batch used; None if that is not known."""
        before = self.states
        self.states = StateUse(before.found + used.found, before.wanted + used.wanted) if before and used else None


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
    """An answer to write, and its pieces as they come.

    Attributes:
        question: what is asked.
        contexts: the passages to answer from.
        params: how to write without retrieval; None writes an answer.
        ticket: whose it is.
        prompt: what the model reads, once writing has begun.
        begun: the pieces of an answer that is streamed.
        left: nobody reads the pieces any more.
    """

    question: Question
    contexts: Sequence[Passage]
    params: SamplingParams | None
    ticket: Ticket
    prompt: EncodedPrompt | None = None
    begun: Iterator[str] | None = None
    left: bool = False
    _pieces: asyncio.Queue[str | BaseException | None] = field(default_factory=asyncio.Queue)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def put(self, piece: str | BaseException | None) -> None:
        """Hand a piece to the waiting request; None ends the answer, an error breaks it."""
        tell_loop(self._loop, self._pieces.put_nowait, piece)

    async def read(self) -> AsyncIterator[str]:
        """Yield the pieces until the end. A reader that stops early stops the writing."""
        try:
            while (piece := await self._pieces.get()) is not None:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
        finally:
            self.left = True


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


def as_ours(error: Exception) -> Exception:
    """Return an error that a client may read; one that is not ours is logged, and said to be a fault of the server."""
    if isinstance(error, RankragError):
        return error
    log.exception("a fault in the model's thread", exc_info=error)
    return RuntimeError("a fault of the server; its log says more")
