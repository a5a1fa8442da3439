"""The chat endpoints, in the form of OpenAI's: answers with citations, passages and their places.

A chat model id that retrieves is a collection's; `…-plain` writes without retrieval, which is also what titles, tags
and follow-up questions of Open WebUI get ("### Task:" prompts).
"""

from __future__ import annotations

import base64
import struct
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from rankrag.errors import DataError
from rankrag.models import SamplingParams
from rankrag.server.answering import Asked, answering
from rankrag.server.parts import Flag, Parts, Positive, Seconds, parts_of, require_question, ticket_for, until_done
from rankrag.server.replies import (
    Ending,
    Head,
    Step,
    answer_chunks,
    collected,
    event_stream,
    finished_response,
    plain_chunks,
    primed,
    response_events,
    token_usage,
)
from rankrag.types import Message, Passage, Question, ScoredPassage, Source

router = APIRouter(tags=["chat"])

Temperature = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None

PLAIN = "-plain"
TASK = "### Task:"
MAX_NEW_TOKENS = 1024
"""A reply without retrieval is cut here, whatever a client asks for."""


class ChatMessage(BaseModel):
    """One message; its content is a text, or parts of which the texts are read."""

    model_config = ConfigDict(extra="allow")
    role: str
    content: str | list[dict[str, Any]] | None = None


class StreamOptions(BaseModel):
    """Whether the last chunk of a stream holds the usage."""

    model_config = ConfigDict(extra="allow")
    include_usage: Flag = None


class ChatRequest(BaseModel):
    """OpenAI's request; `documents` (texts or objects) are ranked in place of what an index finds."""

    model_config = ConfigDict(extra="allow")
    model: str | None = None
    messages: list[ChatMessage] = Field(min_length=1, max_length=1000)
    stream: Flag = False
    stream_options: StreamOptions | None = None
    max_tokens: Positive = None
    max_completion_tokens: Positive = None
    temperature: Temperature = None
    top_p: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    seed: int | None = None
    documents: list[str | dict[str, Any]] | None = Field(None, max_length=10_000)
    timeout: Seconds = None
    sources_list: Flag = False


class ResponsesRequest(BaseModel):
    """OpenAI's newer form: `input` is a text or messages."""

    model_config = ConfigDict(extra="allow")
    model: str | None = None
    input: str | list[ChatMessage]
    stream: Flag = False
    max_output_tokens: Positive = None
    temperature: Temperature = None
    timeout: Seconds = None


class EmbeddingRequest(BaseModel):
    """Texts to make vectors of; a passage's by default, a query's for `input_type: query`."""

    model_config = ConfigDict(extra="allow")
    input: str | list[str] = Field(max_length=2_000_000)
    model: str | None = None
    encoding_format: Literal["float", "base64"] | None = "float"
    input_type: str | None = None


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    """List one id for each collection, and one that writes without retrieval."""
    parts = parts_of(request)
    ids = [*(_collection_id(parts, name) for name in parts.collections.names()), parts.name + PLAIN]
    return {"object": "list", "data": [_model(id_, parts) for id_ in ids]}


@router.get("/v1/models/{name:path}")
async def model(request: Request, name: str) -> dict[str, Any]:
    """Describe one model id."""
    parts = parts_of(request)
    _collection_of(parts, name)
    return _model(name, parts)


@router.post("/v1/chat/completions")
async def chat(request: Request, body: ChatRequest) -> Any:
    """Answer the last question of a conversation, with citations."""
    parts = parts_of(request)
    question, is_task = _question(body.messages)
    head = Head("chatcmpl-" + uuid.uuid4().hex, body.model or parts.name, int(time.time()))
    with_usage = bool(body.stream_options and body.stream_options.include_usage)
    ending = Ending(bool(body.sources_list), with_usage)
    if is_task or _is_plain(body.model):
        limit = body.max_completion_tokens or body.max_tokens or 256
        params = SamplingParams(
            min(limit, MAX_NEW_TOKENS), body.temperature or 0.0, body.top_p or 1.0, (body.seed or 0) % 2**31
        )
        pieces = parts.scheduler.write(question, (), ticket_for(request, body.timeout), params).read()
        if body.stream:
            return event_stream(plain_chunks(head, await primed(pieces), ending))
        text = "".join([piece async for piece in pieces])
        return head.completion(text, token_usage(question, text))
    events = _answered(request, parts, body.model, question, body.documents, body.timeout)
    if body.stream:
        return event_stream(answer_chunks(request, parts, head, await primed(events), ending))
    reply = await until_done(request, collected(request, parts, events))
    text = reply.text + (reply.sources if body.sources_list else "")
    message = {"annotations": reply.annotations}
    return head.completion(text, token_usage(question, text), message) | {"rankrag": reply.details}


@router.post("/v1/responses")
async def responses(request: Request, body: ResponsesRequest) -> Any:
    """Answer in the form of OpenAI's responses."""
    parts = parts_of(request)
    messages = [ChatMessage(role="user", content=body.input)] if isinstance(body.input, str) else body.input
    if not messages:
        raise DataError("input: no message; send a text or a list of messages")
    question, is_task = _question(messages)
    id_, created = "resp_" + uuid.uuid4().hex, time.time()
    head = {"id": id_, "object": "response", "created_at": created, "model": body.model or parts.name}
    fixed = {"parallel_tool_calls": False, "tool_choice": "auto", "tools": [], "error": None}
    if is_task or _is_plain(body.model):
        params = SamplingParams(min(body.max_output_tokens or 256, MAX_NEW_TOKENS), body.temperature or 0.0)
        events = _as_events(parts.scheduler.write(question, (), ticket_for(request, body.timeout), params).read())
    else:
        events = _answered(request, parts, body.model, question, None, body.timeout)
    if body.stream:
        return event_stream(response_events(request, parts, head | fixed, await primed(events), question))
    reply = await until_done(request, collected(request, parts, events))
    return head | fixed | finished_response(reply, question)


@router.post("/v1/embeddings")
async def embeddings(request: Request, body: EmbeddingRequest) -> dict[str, Any]:
    """Return the vectors of the encoder that the indexes use."""
    parts = parts_of(request)
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not texts or not all(text.strip() for text in texts):
        raise DataError("input: empty; send a text, or a list of texts that are not blank")
    if len(texts) > 2048:
        raise DataError(f"input: {len(texts)} texts; send at most 2,048 at once")
    encoder = parts.encoder
    if encoder is None:
        raise DataError("this server was started without an encoder (--retriever bm25); it makes no vectors")

    def encode() -> list[list[float]]:
        if body.input_type and "query" in body.input_type:
            return [[float(x) for x in row] for row in encoder.encode_queries(texts)]
        return [[float(x) for x in row] for row in encoder.encode_passages([Passage("", text) for text in texts])]

    rows = await until_done(request, parts.scheduler.call(encode, ticket_for(request)))
    shown = [_base64(row) for row in rows] if body.encoding_format == "base64" else rows
    data = [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(shown)]
    tokens = sum(len(text) // 4 + 1 for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": encoder.name, "usage": usage}


def _answered(
    request: Request,
    parts: Parts,
    model: str | None,
    question: Question,
    documents: Sequence[str | dict[str, Any]] | None,
    timeout: float | None,
) -> AsyncIterator[Step]:
    pipeline = parts.collections.pipeline(_collection_of(parts, model))
    own = None if documents is None else tuple(_document(place, d) for place, d in enumerate(documents))
    return answering(Asked(question, pipeline, own), parts.scheduler, ticket_for(request, timeout))


async def _as_events(pieces: AsyncIterator[str]) -> AsyncIterator[Step]:
    async for piece in pieces:
        yield piece


def _question(messages: Sequence[ChatMessage]) -> tuple[Question, bool]:
    """Return the last user's turn with the turns before it, and whether it is a task of Open WebUI's own."""
    turns = [(m.role, _content(m)) for m in messages if m.role in ("user", "assistant", "agent")]
    last = next((i for i in reversed(range(len(turns))) if turns[i][0] == "user"), None)
    if last is None:
        raise DataError("messages: none has the role 'user'; the last one of these is the question")
    text = require_question(turns[last][1])
    history = tuple(
        Message("user" if role == "user" else "assistant", content) for role, content in turns[:last] if content.strip()
    )
    if text.lstrip().startswith(TASK):
        return Question("", text, style="plain"), True
    return Question("", text, history, style="conversation" if history else None), False


def _content(message: ChatMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    return "\n".join(str(p["text"]) for p in message.content or () if isinstance(p.get("text"), str))


def _document(place: int, document: str | dict[str, Any]) -> ScoredPassage:
    """Return a caller's own document as a candidate: a text, or an object with `text` (Cohere: inside `data`)."""
    if isinstance(document, str):
        return ScoredPassage(Passage(f"document-{place}", document), 0.0)
    inner = document.get("data")
    data: dict[str, Any] = inner if isinstance(inner, dict) else document
    text = next((data[k] for k in ("text", "content", "snippet", "page_content") if isinstance(data.get(k), str)), None)
    if text is None:
        raise DataError(f"documents[{place}]: no 'text' (found: {', '.join(sorted(data)) or 'nothing'})")
    title, url = data.get("title"), data.get("url")
    source = Source(url) if isinstance(url, str) and url.startswith(("http://", "https://")) else None
    return ScoredPassage(Passage(str(document.get("id", f"document-{place}")), text, str(title or ""), source), 0.0)


def _is_plain(model: str | None) -> bool:
    return model is not None and model.endswith(PLAIN)


def _collection_id(parts: Parts, name: str) -> str:
    return parts.name if name == parts.collections.default else f"{parts.name}:{name}"


def _collection_of(parts: Parts, model: str | None) -> str:
    """Return the collection that a model id names: `rankrag:NAME`, or the default one for any other name."""
    _, colon, name = (model or "").partition(":")
    if not colon or _is_plain(model):
        return parts.collections.default
    return parts.collections.require(name)


def _model(id_: str, parts: Parts) -> dict[str, Any]:
    return {"id": id_, "object": "model", "created": parts.started, "owned_by": "rankrag"}


def _base64(row: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(row)}f", *row)).decode()
