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
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, TypeVar

from rankrag.errors import RankragError
from rankrag.generate import answer_many, encode_answer, stream_answer
from rankrag.models import LanguageModel, SamplingParams
from rankrag.rerank import Judgement, judge
from rankrag.server.fair import FairQueue
from rankrag.server.metrics import Metrics
from rankrag.server.work import BusyError, Call, GoneError, Judging, Pair, Promise, Ticket, Writing
from rankrag.templates import answer_prompt
from rankrag.types import Passage, Question

Result = TypeVar("Result")

BATCH_TOKENS = 1536
"""Tokens judged in one turn of a CPU: about a second of rankrag-mini, which is what another client waits at most."""

WRITTEN_TOGETHER = 8
"""Answers written in one batch. Writing reads all weights for each token, so that eight take little longer than one."""

PIECES_A_TURN = 8
"""Pieces of a streamed answer between two batches of ranking."""

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
        self._writing: deque[Writing] = deque()
        self._changed = threading.Condition()
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

    async def write(
        self,
        question: Question,
        contexts: Sequence[Passage],
        ticket: Ticket,
        params: SamplingParams | None = None,
    ) -> AsyncIterator[str]:
        """Yield the model's reply; piece by piece while nobody else waits for an answer, else all at once."""
        work = Writing(question, contexts, params, ticket, asyncio.Queue(), asyncio.get_running_loop())
        self._enter(lambda: self._writing.append(work))
        try:
            while (piece := await work.pieces.get()) is not None:
                if isinstance(piece, BaseException):
                    raise piece
                yield piece
        finally:
            work.left = True  # a reader that stopped early; after the last piece it changes nothing

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

    def _run(self) -> None:
        while True:
            with self._changed:
                while not (busy := bool(self._waiting() or self._background)) and not self._stopping:
                    self._changed.wait()
                if not busy:
                    return
            started = time.perf_counter()
            before = self.waiting()
            self._turn()
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
            self._write()

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
        with self.metrics.timed("rank"):
            found = self._judged([pair for _, pair in batch])
        self.metrics.pairs.inc(len(batch))
        self.metrics.tokens.inc(sum(self._estimate(pair) for _, pair in batch))
        self.metrics.count_states(self.model.info.states)
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
                return [_as_ours(error)]
            return [one for pair in pairs for one in self._judged([pair])]

    def _perform(self, work: Call) -> None:
        if work.ticket.cancelled:
            work.done.fail(GoneError("the client went away"))
            return
        try:
            work.done.give(work.function())
        except Exception as error:
            work.done.fail(_as_ours(error))

    def _write(self) -> None:
        with self._changed:
            for gone in [w for w in self._writing if w.left or w.ticket.cancelled]:
                self._writing.remove(gone)
                gone.put(GoneError("the client went away"))
            fresh = [w for w in self._writing if w.begun is None and w.params is None][:WRITTEN_TOGETHER]
            streamed = self._writing[0] if self._writing else None
        if len(fresh) > 1:
            self._write_together(fresh)
        elif streamed:
            self._stream(streamed)

    def _write_together(self, batch: list[Writing]) -> None:
        with self.metrics.timed("write"):
            try:
                replies: list[str | BaseException] = list(
                    answer_many(self.model, [(w.question, w.contexts) for w in batch])
                )
            except Exception:
                replies = [self._one_reply(work) for work in batch]
        with self._changed:
            for work in batch:
                self._writing.remove(work)
        for work, reply in zip(batch, replies, strict=True):
            work.put(reply)
            if isinstance(reply, str):
                work.put(None)

    def _one_reply(self, work: Writing) -> str | BaseException:
        try:
            return answer_many(self.model, [(work.question, work.contexts)])[0]
        except Exception as error:
            return _as_ours(error)

    def _begin(self, work: Writing) -> Iterator[str]:
        """Return the pieces of an answer; with `params` of its own it is written as it comes, a refusal as well."""
        if work.params is None:
            return stream_answer(self.model, work.question, encode_answer(self.model, work.question, work.contexts))
        prompt = answer_prompt(self.model.contract.format, work.question, work.contexts)
        (encoded,) = self.model.encode([prompt], reserve=work.params.max_new_tokens)
        return self.model.stream(encoded, work.params)

    def _stream(self, work: Writing) -> None:
        """Write the next pieces of one answer, then put it behind the others."""
        end: object = object()
        try:
            if work.begun is None:
                work.begun = self._begin(work)
            with self.metrics.timed("write"):
                for _ in range(PIECES_A_TURN):
                    piece = next(work.begun, end)
                    if piece is end:
                        break
                    work.put(str(piece))
        except Exception as error:
            piece = end
            work.put(_as_ours(error))
        else:
            if piece is end:
                work.put(None)
        with self._changed:
            self._writing.remove(work)
            if piece is not end:
                self._writing.append(work)


def _as_ours(error: Exception) -> Exception:
    """Return an error that a client may read; what is not ours is logged, and said to be a fault of the server."""
    if isinstance(error, RankragError):
        return error
    log.exception("a fault in the model's thread", exc_info=error)
    return RuntimeError("a fault of the server; its log says more")
