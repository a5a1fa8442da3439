"""One queue for the model: requests of all kinds share its time in short, fair turns.

One thread owns the model, since no backend may be called by two at once and two forward passes at once on one machine
are slower than one after the other. In each turn it judges one batch of pairs, taken pair by pair from each client in
rotation, makes one call (a search, a citation, vectors of an upload), and writes. So a client with ten thousand
documents delays another client's twenty by one batch, not by ten thousand documents.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from rankrag.models import LanguageModel, SamplingParams
from rankrag.rerank import Judgement, judge
from rankrag.server.fair import FairQueue
from rankrag.server.metrics import Metrics
from rankrag.server.work import BusyError, Call, GoneError, Judging, Pair, Promise, Ticket, Writing, as_ours
from rankrag.server.writing import Writer
from rankrag.types import Passage, Question

Result = TypeVar("Result")

BATCH_TOKENS = 1536
"""Tokens judged in one turn of a CPU: about a second of rankrag-mini, which is what another client waits at most."""

_CHARACTERS_A_TOKEN = 4
_PROMPT_TOKENS = 60

log = logging.getLogger(__name__)


class Scheduler:
    """The thread that owns the model, and the work that waits for it.

    Args:
        model: ranks and answers.
        metrics: counts what is done.
        max_waiting: requests that wait at most; one more gets `BusyError`.
        batch_tokens: estimated tokens of one batch of pairs.
    """

    def __init__(
        self, model: LanguageModel, metrics: Metrics, *, max_waiting: int = 256, batch_tokens: int = BATCH_TOKENS
    ) -> None:
        self.model = model
        self.metrics = metrics
        self._max_waiting = max_waiting
        self._batch_tokens = batch_tokens
        self._judging = FairQueue()
        self._calls: deque[Call] = deque()
        self._background: deque[Call] = deque()
        self._changed = threading.Condition()
        self._writing = Writer(model, metrics, self._changed)
        self._stopping = False
        self._seconds_a_request = 1.0
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self, seconds: float = 30.0) -> None:
        """Finish the work that was accepted, for at most `seconds`, then refuse the rest with `GoneError`."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(seconds)
        with self._changed:
            self._give_up(GoneError("the server has stopped"))

    def waiting(self) -> int:
        """Return the number of requests that wait or are worked on."""
        with self._changed:
            return self._waiting()

    async def judge(
        self,
        pairs: Sequence[Pair],
        ticket: Ticket,
        enough: Callable[[Sequence[Judgement]], bool] = lambda _: False,
    ) -> list[Judgement]:
        """Return the judgements of the pairs, in their order.

        Fewer come back where `enough` says of those so far that no more are needed, or when the deadline passes; at
        least one batch is judged.
        """
        if not pairs:
            return []
        work = Judging(pairs, ticket, enough, Promise())
        self._enter(lambda: self._judging.add(work))
        return list(await self._awaited(work.done, ticket))

    async def call(self, function: Callable[[], Result], ticket: Ticket, *, background: bool = False) -> Result:
        """Return what a function returns in the model's thread; `background` work waits until nothing else does."""
        work = Call(function, ticket, Promise())
        self._enter(lambda: (self._background if background else self._calls).append(work), always=background)
        result: Result = await self._awaited(work.done, ticket)
        return result

    def write(
        self,
        question: Question,
        contexts: Sequence[Passage],
        ticket: Ticket,
        params: SamplingParams | None = None,
    ) -> Writing:
        """Queue a reply, and return what reads it: in pieces while nobody else waits for one, else all at once."""
        work = Writing(question, contexts, params, ticket)
        self._enter(lambda: self._writing.add(work))
        return work

    async def _awaited(self, promise: Promise, ticket: Ticket) -> Any:
        try:
            return await promise.future
        except asyncio.CancelledError:
            ticket.cancelled = True
            raise

    def _enter(self, enqueue: Callable[[], object], *, always: bool = False) -> None:
        with self._changed:
            if self._stopping:
                raise GoneError("the server is stopping")
            if not always and self._waiting() >= self._max_waiting:
                self.metrics.refused.inc()
                raise BusyError(max(1, min(60, round(self._seconds_a_request * self._max_waiting / 4))))
            enqueue()
            self.metrics.waiting.set(self._waiting())
            self._changed.notify_all()

    def _waiting(self) -> int:
        return len(self._calls) + len(self._writing) + len(self._judging)

    def _give_up(self, error: Exception) -> None:
        """Break all work that waits; without any, the thread ends after its turn."""
        for judging in self._judging.end(lambda _: True):
            judging.done.fail(error)
        for calls in (self._calls, self._background):
            while calls:
                calls.popleft().done.fail(error)
        self._writing.give_up(error)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (busy := bool(self._waiting() or self._background)) and not self._stopping:
                    self._changed.wait()
                if not busy:
                    return
            started = time.perf_counter()
            before = self.waiting()
            try:
                self._turn()
            except Exception as error:  # a fault of ours: what waits is told of it, and the thread goes on
                with self._changed:
                    self._give_up(as_ours(error))
            done = before - self.waiting()
            if done > 0:  # a running mean, which tells a refused client when to come back
                self._seconds_a_request += 0.1 * ((time.perf_counter() - started) / done - self._seconds_a_request)
            self.metrics.waiting.set(self.waiting())

    def _turn(self) -> None:
        batch = self._next_batch()
        if batch:
            self._judge(batch)
        call = self._pop(self._calls)
        if call is None and not batch and not self._writing:
            call = self._pop(self._background)
        if call:
            self._perform(call)
        if self._writing and not self._pressing():
            self._writing.turn()

    def _pop(self, calls: deque[Call]) -> Call | None:
        with self._changed:
            return calls.popleft() if calls else None

    def _pressing(self) -> bool:
        """Whether a request that is being ranked would be late after another turn of writing."""
        with self._changed:
            soon = time.monotonic() + 2.0
            deadlines = (work.ticket.deadline for work in self._judging)
            return any(deadline is not None and deadline < soon for deadline in deadlines)

    def _next_batch(self) -> list[tuple[Judging, Pair]]:
        with self._changed:
            for gone in self._judging.end(lambda work: work.ticket.cancelled):
                gone.done.fail(GoneError("the client went away"))
            return self._judging.take(self._batch_tokens, self._estimate)

    def _estimate(self, pair: Pair) -> int:
        question, passage = pair
        read = min(len(passage.text) // _CHARACTERS_A_TOKEN, self.model.contract.passage_tokens)
        return _PROMPT_TOKENS + read + len(question.text) // _CHARACTERS_A_TOKEN

    def _judge(self, batch: list[tuple[Judging, Pair]]) -> None:
        before = self.model.info.states
        with self.metrics.timed("rank"):
            found = self._judged([pair for _, pair in batch])
        states = self.model.info.states
        self.metrics.pairs.inc(len(batch))
        self.metrics.tokens.inc(sum(self._estimate(pair) for _, pair in batch))
        self.metrics.count_states(states)
        tickets = {work.ticket for work, _ in batch}
        for ticket in tickets:
            ticket.count_states(states - before if states and before and len(tickets) == 1 else None)
        for (work, _), judgement in zip(batch, found, strict=True):
            if isinstance(judgement, Exception):
                work.done.fail(judgement)
                work.ticket.cancelled = True
            else:
                work.judged.append(judgement)
        with self._changed:
            for work in self._judging.end(self._is_done):
                work.done.give(work.judged)

    @staticmethod
    def _is_done(work: Judging) -> bool:
        whole = len(work.judged) == len(work.pairs)
        return whole or (work.taken > 0 and (work.ticket.cancelled or work.ticket.late or work.enough(work.judged)))

    def _judged(self, pairs: list[Pair]) -> list[Judgement | Exception]:
        """Judge a batch; where it fails, pair by pair, so that one bad pair fails its own request only."""
        try:
            return list(judge(self.model, pairs))
        except Exception as error:
            if len(pairs) == 1:
                return [as_ours(error)]
            return [one for pair in pairs for one in self._judged([pair])]

    def _perform(self, work: Call) -> None:
        if work.ticket.cancelled:
            work.done.fail(GoneError("the client went away"))
            return
        try:
            work.done.give(work.function())
        except Exception as error:
            work.done.fail(as_ours(error))
