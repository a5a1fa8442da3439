"""Answers that wait to be written: together in one batch, or piece by piece while one is alone."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator

from rankrag.encoding import EncodedPrompt
from rankrag.generate import answer_encoded, encode_answer, stream_answer
from rankrag.models import LanguageModel
from rankrag.server.metrics import Metrics
from rankrag.server.work import GoneError, Writing, as_ours
from rankrag.templates import answer_prompt

WRITTEN_TOGETHER = 8
"""Answers written in one batch. Writing reads all weights for each token, so that eight take little longer than one."""

PIECES_A_TURN = 8
"""Pieces of a streamed answer between two batches of ranking."""


class Writer:
    """The answers of one server that wait; other threads add to them under `lock`."""

    def __init__(self, model: LanguageModel, metrics: Metrics, lock: threading.Condition) -> None:
        self._model, self._metrics, self._lock = model, metrics, lock
        self._waiting: deque[Writing] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, work: Writing) -> None:
        """Put an answer behind the others."""
        self._waiting.append(work)

    def give_up(self, error: Exception) -> None:
        """Break all answers that wait."""
        while self._waiting:
            self._waiting.popleft().put(error)

    def turn(self) -> None:
        """Write several fresh answers whole, or the next pieces of one."""
        with self._lock:
            for gone in [w for w in self._waiting if w.left or w.ticket.cancelled]:
                self._waiting.remove(gone)
                gone.put(GoneError("the client went away"))
            fresh = [w for w in self._waiting if w.begun is None and w.params is None][:WRITTEN_TOGETHER]
            streamed = self._waiting[0] if self._waiting else None
        if len(fresh) > 1:
            self._write_together(fresh)
        elif streamed:
            self._stream(streamed)

    def _write_together(self, batch: list[Writing]) -> None:
        with self._metrics.timed("write"):
            try:
                replies: list[str | Exception] = list(self._replies(batch))
            except Exception:
                replies = [self._one_reply(work) for work in batch]
        self._remove(*batch)
        for work, reply in zip(batch, replies, strict=True):
            work.put(reply)
            if isinstance(reply, str):
                work.put(None)

    def _replies(self, batch: list[Writing]) -> list[str]:
        return answer_encoded(self._model, [(work.question, self._prompt(work)) for work in batch])

    def _prompt(self, work: Writing) -> EncodedPrompt:
        if work.prompt is None:
            work.prompt = encode_answer(self._model, work.question, work.contexts)
        return work.prompt

    def _one_reply(self, work: Writing) -> str | Exception:
        try:
            return self._replies([work])[0]
        except Exception as error:
            return as_ours(error)

    def _begin(self, work: Writing) -> Iterator[str]:
        """Return the pieces of an answer; with `params` of its own it is written as it comes, a refusal as well."""
        if work.params is None:
            return stream_answer(self._model, work.question, self._prompt(work))
        text = answer_prompt(self._model.contract.format, work.question, work.contexts)
        (work.prompt,) = self._model.encode([text], reserve=work.params.max_new_tokens)
        return self._model.stream(work.prompt, work.params)

    def _stream(self, work: Writing) -> None:
        """Write the next pieces of one answer, then put it behind the others."""
        ended = True
        try:
            with self._metrics.timed("write"):
                work.begun = work.begun or self._begin(work)
                for _ in range(PIECES_A_TURN):
                    piece = next(work.begun, None)
                    work.put(piece)
                    if ended := piece is None:
                        break
        except Exception as error:
            work.put(as_ours(error))
            ended = True
        self._remove(work)
        if not ended:
            with self._lock:
                self._waiting.append(work)

    def _remove(self, *done: Writing) -> None:
        with self._lock:
            for work in done:
                if work in self._waiting:  # else a server that stops has given it up
                    self._waiting.remove(work)
