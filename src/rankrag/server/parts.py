"""What every route needs: the model behind its queue, the collections, and a ticket for each request."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import FastAPI, Request
from pydantic import BeforeValidator, Field

from rankrag.errors import DataError, RankragError
from rankrag.models import LanguageModel
from rankrag.retrieval.encoder import Encoder
from rankrag.server.collections import Collections
from rankrag.server.metrics import Metrics
from rankrag.server.scheduler import Scheduler
from rankrag.server.work import GoneError, Ticket

Result = TypeVar("Result")


def or_none(value: object) -> object:
    """Return None for an empty text, as some clients send it for a field that is not set."""
    return None if isinstance(value, str) and not value.strip() else value


Flag = Annotated[bool | None, BeforeValidator(or_none)]
Seconds = Annotated[Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)] | None, BeforeValidator(or_none)]
Positive = Annotated[Annotated[int, Field(ge=1)] | None, BeforeValidator(or_none)]


class NotReadyError(RankragError):
    """The model is not loaded, or cannot be."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a running server. `name` is the model's, as clients see it; `base_url` is how others reach it."""

    model: LanguageModel
    scheduler: Scheduler
    metrics: Metrics
    collections: Collections
    encoder: Encoder | None
    name: str
    version: str
    base_url: str
    started: int
    max_waiting: int


def parts_of(request: Request) -> Parts:
    """Return the parts of the server that got a request; `NotReadyError` while its model is being loaded."""
    return ready_parts(request.app)


def ready_parts(app: FastAPI) -> Parts:
    """Return the parts of a server; `NotReadyError` while its model is being loaded."""
    parts: Parts | None = app.state.parts
    if parts is None:
        raise NotReadyError(str(app.state.problem))
    return parts


def ticket_for(request: Request, timeout: float | None = None) -> Ticket:
    """Return a place in the queue: a client is an address with its key, and a time-out in seconds is its deadline."""
    key = request.headers.get("authorization", "")
    client = f"{request.client.host if request.client else ''} {hash(key)}"
    return Ticket(client, time.monotonic() + timeout if timeout else None)


async def until_done(request: Request, work: Awaitable[Result]) -> Result:
    """Return the result of a piece of work, which is cancelled when the client goes away (`GoneError`)."""
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise GoneError("the client went away")
        return task.result()
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()


async def _gone(request: Request) -> None:
    """Return when the client closes the connection; its body has been read, so nothing else can come."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def require_question(text: str, what: str = "the question") -> str:
    """Return a text that is not blank; `DataError` otherwise."""
    if not text.strip():
        raise DataError(f"{what} is empty; send a text")
    return text
