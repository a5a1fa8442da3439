"""How answers are written for chat clients: completions, chunks and responses in OpenAI's forms, with our details."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from fastapi import Request
from fastapi.responses import StreamingResponse

from rankrag.errors import RankragError
from rankrag.server.answering import Ranked, sources_list
from rankrag.server.collections import passage_key, shown_place
from rankrag.server.guard import error_body
from rankrag.server.parts import Parts
from rankrag.types import Answer, Question


@dataclass(frozen=True, slots=True)
class Head:
    """What all chunks of one completion share."""

    id: str
    model: str
    created: int

    def completion(self, text: str, usage: dict[str, int], extra: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return a whole completion; `extra` goes into its message."""
        message = {"role": "assistant", "content": text, "refusal": None} | (extra or {})
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        return self._body("chat.completion", [choice]) | {"usage": usage}

    def chunk(self, delta: dict[str, Any], *, end: bool = False) -> dict[str, Any]:
        """Return one chunk of a stream; the `end` one says that the text is complete."""
        choice = {"index": 0, "delta": delta, "finish_reason": "stop" if end else None, "logprobs": None}
        return self._body("chat.completion.chunk", [choice])

    def usage_chunk(self, usage: dict[str, int]) -> dict[str, Any]:
        """Return the chunk of the usage, which has no choice."""
        return self._body("chat.completion.chunk", []) | {"usage": usage}

    def _body(self, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model, "choices": choices}


@dataclass(frozen=True, slots=True)
class ChatReply:
    """An answer as a client reads it: the text with [n] marks, and what the marks mean."""

    text: str
    annotations: list[dict[str, Any]]
    sources: str
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ending:
    """What a client wants after a stream's text: the sources as a Markdown list, and a chunk with the usage."""

    sources: bool = False
    usage: bool = False


Step = Ranked | str | Answer
"""What `answering` yields."""


async def primed(events: AsyncIterator[Any]) -> AsyncIterator[Any]:
    """Wait for the first event, so that an error before it gets its own status instead of breaking a stream."""
    try:
        first = await anext(events)
    except StopAsyncIteration:
        return _from([], events)
    return _from([first], events)


async def _from(first: list[Any], events: AsyncIterator[Any]) -> AsyncIterator[Any]:
    for event in first:
        yield event
    async for event in events:
        yield event


async def collected(request: Request, parts: Parts, events: AsyncIterator[Step]) -> ChatReply:
    """Return the reply at the end of the events."""
    ranked: Ranked | None = None
    text = ""
    async for event in events:
        if isinstance(event, Ranked):
            ranked = event
        elif isinstance(event, str):
            text += event
        else:
            return reply_of(request, parts, event, ranked)
    return ChatReply(text, [], "", {})


def reply_of(
    request: Request, parts: Parts, answer: Answer, ranked: Ranked | None, *, streamed: bool = False
) -> ChatReply:
    """Put the marks into the text, and say for each where it stands and what it names.

    A streamed text is out already, so its marks follow at the end, and the places are those of the bare sentences.
    """
    links = [parts.collections.link(str(request.base_url), c.passage) for c in answer.contexts]
    text, annotations, end = "", [], 0
    for citation in sorted(answer.citations, key=lambda c: c.end):
        text += answer.text[end : citation.end]
        start, end = len(text) - (citation.end - citation.start), citation.end
        passage = answer.contexts[citation.context].passage
        text += "" if streamed else f" [{citation.context + 1}]"
        cited = {
            "url": links[citation.context],
            "title": shown_place(passage) or passage.title or passage.id,
            "start_index": start,
            "end_index": len(text),
        }
        annotations.append({"type": "url_citation", "url_citation": cited})
    text += answer.text[end:]
    if streamed and answer.citations:
        text += " " + " ".join(dict.fromkeys(f"[{c.context + 1}]" for c in answer.citations))
    details = answer_details(answer, parts, str(request.base_url)) | {"settled": bool(ranked and ranked.settled)}
    return ChatReply(text, annotations, sources_list(answer, links), details)


def answer_details(answer: Answer, parts: Parts, base_url: str) -> dict[str, Any]:
    """Return what a person may check: every passage with P(True), its round and places, and the times."""
    was = {c.passage.id: place for place, c in enumerate(answer.retrieved, start=1)}
    second = answer.second_round
    passages = [
        {
            "id": passage_key(c.passage),
            "score": answer.relevance.get(c.passage.id),
            "rank": rank,
            "was": was[c.passage.id],
            "round": 2 if second and c.passage.id in second.found else 1,
            "used": rank <= len(answer.contexts) and not answer.abstained,
            "title": c.passage.title,
            "place": shown_place(c.passage),
            "url": parts.collections.link(base_url, c.passage),
            "text": c.passage.text,
            "truncated": c.passage.id in answer.truncated,
            "context_truncated": c.passage.id in answer.contexts_truncated,
        }
        for rank, c in enumerate(answer.reranked, start=1)
    ]
    citations = [{"start": c.start, "end": c.end, "passage": c.context} for c in answer.citations]
    times = answer.timings
    seconds = {"retrieve": times.retrieve, "rerank": times.rerank, "generate": times.generate}
    states = {"found": answer.states.found, "wanted": answer.states.wanted} if answer.states else None
    return {
        "abstained": answer.abstained,
        "text": answer.text,
        "citations": citations,
        "passages": passages,
        "second_queries": list(second.queries) if second else [],
        "seconds": seconds,
        "states": states,
    }


async def answer_chunks(
    request: Request, parts: Parts, head: Head, events: AsyncIterator[Step], ending: Ending
) -> AsyncIterator[dict[str, Any]]:
    """Yield the chunks of a stream: the sources first, then the text, then what is cited."""
    ranked: Ranked | None = None
    written = ""
    async for event in events:
        if isinstance(event, Ranked):
            ranked = event
            first = head.chunk({"role": "assistant", "content": ""})
            if not event.decision.withheld:
                first["event"] = _source_event(request, parts, event)
            yield first
        elif isinstance(event, str):
            written += event
            yield head.chunk({"content": event})
        else:
            reply = reply_of(request, parts, event, ranked, streamed=True)
            tail = reply.text.removeprefix(event.text) + (reply.sources if ending.sources else "")
            if tail:
                yield head.chunk({"content": tail})
            yield head.chunk({"annotations": reply.annotations}, end=True) | {"rankrag": reply.details}
            if ending.usage:
                yield head.usage_chunk(token_usage(event.question, written + tail))


async def plain_chunks(head: Head, pieces: AsyncIterator[str], ending: Ending) -> AsyncIterator[dict[str, Any]]:
    """Yield the chunks of a text that was written without retrieval."""
    yield head.chunk({"role": "assistant", "content": ""})
    text = ""
    async for piece in pieces:
        text += piece
        yield head.chunk({"content": piece})
    yield head.chunk({}, end=True)
    if ending.usage:
        yield head.usage_chunk(token_usage(Question("", ""), text))


def _source_event(request: Request, parts: Parts, ranked: Ranked) -> dict[str, Any]:
    """Return Open WebUI's event: it shows whole passages; [n] there is the n-th distinct `source`, one for each."""
    contexts = ranked.decision.contexts
    metadata = []
    for number, c in enumerate(contexts, start=1):
        source = c.passage.source
        link = parts.collections.link(str(request.base_url), c.passage) or f"passage {number}"
        name = shown_place(c.passage) or c.passage.title or f"passage {number}"
        page = {"page": source.page - 1} if source and source.page else {}
        metadata.append({"source": link, "name": name, "external": True, **page})
    relevance = ranked.decision.relevance
    data = {
        "source": {"name": parts.name},
        "document": [c.passage.text for c in contexts],
        "metadata": metadata,
        "distances": [relevance.get(c.passage.id, 0.0) for c in contexts],
    }
    return {"type": "source", "data": data}


def event_stream(chunks: AsyncIterator[dict[str, Any]]) -> StreamingResponse:
    """Return server-sent events, one for each chunk; an error in the middle is one of them."""

    async def lines() -> AsyncIterator[str]:
        try:
            async for chunk in chunks:
                name = f"event: {chunk['type']}\n" if "type" in chunk else ""
                yield f"{name}data: {json.dumps(chunk, ensure_ascii=False)}\n\n"
        except RankragError as error:  # the status is sent already
            yield f"data: {json.dumps(error_body(500, str(error), 'interrupted'))}\n\n"
        yield "data: [DONE]\n\n"

    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(lines(), media_type="text/event-stream", headers=headers)


async def response_events(
    request: Request, parts: Parts, head: dict[str, Any], events: AsyncIterator[Step], question: Question
) -> AsyncIterator[dict[str, Any]]:
    """Yield the events of a streamed response, numbered as OpenAI's clients demand."""
    number = 0

    def event(kind: str, **fields: Any) -> dict[str, Any]:
        nonlocal number
        number += 1
        return {"type": kind, "sequence_number": number - 1, **fields}

    item = {"id": "msg_" + head["id"], "output_index": 0}
    at = {"item_id": item["id"], "output_index": 0, "content_index": 0}
    empty = {"type": "output_text", "text": "", "annotations": []}
    message = {"id": item["id"], "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    yield event("response.created", response=head | {"status": "in_progress", "output": []})
    yield event("response.output_item.added", output_index=0, item=message)
    yield event("response.content_part.added", **at, part=empty)
    reply, ranked, text = None, None, ""
    async for one in events:
        if isinstance(one, Ranked):
            ranked = one
        elif isinstance(one, str):
            text += one
            yield event("response.output_text.delta", **at, delta=one, logprobs=[])
        else:
            reply = reply_of(request, parts, one, ranked, streamed=True)
    reply = reply or ChatReply(text, [], "", {})
    if len(reply.text) > len(text):
        yield event("response.output_text.delta", **at, delta=reply.text.removeprefix(text), logprobs=[])
    completed = finished_response(reply, question, item["id"])
    (done,) = completed["output"]
    yield event("response.output_text.done", **at, text=reply.text, logprobs=[])
    yield event("response.content_part.done", **at, part=done["content"][0])
    yield event("response.output_item.done", output_index=0, item=done)
    yield event("response.completed", response=head | completed)


def finished_response(reply: ChatReply, question: Question, item_id: str = "") -> dict[str, Any]:
    """Return what a response holds once it is complete, its text as one message."""
    annotations = [{"type": a["type"], **a["url_citation"]} for a in reply.annotations]
    content = {"type": "output_text", "text": reply.text, "annotations": annotations, "logprobs": []}
    item = {
        "id": item_id or "msg_" + uuid.uuid4().hex,
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [content],
    }
    usage = token_usage(question, reply.text)
    counts = {
        "input_tokens": usage["prompt_tokens"],
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": usage["completion_tokens"],
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage["total_tokens"],
    }
    return {"status": "completed", "output": [item], "usage": counts, "rankrag": reply.details}


def token_usage(question: Question, text: str) -> dict[str, int]:
    """Return an estimate of the tokens read and written, at four characters each."""
    asked, written = len(question.text) // 4 + 1, len(text) // 4 + 1
    return {"prompt_tokens": asked, "completion_tokens": written, "total_tokens": asked + written}
