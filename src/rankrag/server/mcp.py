"""The same server for agents: MCP's `search` and `fetch` by ChatGPT's contract, `ask` and `rerank`."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar, cast

from fastapi import FastAPI
from mcp.server import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.transport_security import TransportSecuritySettings
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field
from starlette.routing import Route

from rankrag.citations import with_markers
from rankrag.errors import RankragError
from rankrag.server.answering import Asked, Ranked, answering
from rankrag.server.collections import shown_place
from rankrag.server.parts import Parts, ready_parts, require_question
from rankrag.server.work import Ticket
from rankrag.types import Answer, Passage, Question

Tool = TypeVar("Tool", bound=Callable[..., Awaitable[Any]])

INSTRUCTIONS = (
    "Searches and answers from a person's own documents. `ask` gives a cited answer or says that the documents hold "
    "none; `search` gives passages, best first, and `fetch` one of them whole."
)
RESULTS = 10

# it logs what clients ask for in vain (a prompt that is not there) as errors, with tracebacks
logging.getLogger("mcp.shared.jsonrpc_dispatcher").setLevel(logging.CRITICAL)

READ_ONLY = ToolAnnotations(read_only_hint=True, destructive_hint=False, open_world_hint=False)


class SearchResult(BaseModel):
    """A passage that was found."""

    id: str
    title: str
    url: str


class SearchResults(BaseModel):
    """Passages, best first."""

    results: list[SearchResult]


class Fetched(BaseModel):
    """A passage whole."""

    id: str
    title: str
    text: str
    url: str
    metadata: dict[str, str] = Field(default_factory=dict)


class Answered(BaseModel):
    """An answer with the passages that it was written from, or an honest refusal."""

    text: str
    abstained: bool
    passages: list[dict[str, Any]]


class RankedDocument(BaseModel):
    """A document's place in the list that was sent, and P(True) that it is relevant."""

    index: int
    relevance_score: float


class RankedDocuments(BaseModel):
    """Documents, best first."""

    results: list[RankedDocument]


def mount_mcp(app: FastAPI) -> MCPServer:
    """Put the tools at `/mcp` of the application, and return their server, whose sessions its lifespan must run."""
    server = mcp_server(lambda: ready_parts(app))
    trusted = TransportSecuritySettings(enable_dns_rebinding_protection=False)  # `Guard` has looked at all requests
    (route,) = server.streamable_http_app(streamable_http_path="/mcp", transport_security=trusted).routes
    assert isinstance(route, Route)
    # two routes: agents do not follow the redirect that a mounted application gives for one of the addresses
    app.router.routes += [route, Route("/mcp/", endpoint=route.endpoint)]
    return server


def mcp_server(parts: Callable[[], Parts]) -> MCPServer:
    """Return the tools, over the parts of a server that is ready when a tool is called."""
    server = MCPServer("rankrag", instructions=INSTRUCTIONS, log_level="WARNING")

    def tool(function: Tool) -> Tool:
        return server.tool(annotations=READ_ONLY)(_telling(function))

    @tool
    async def search(query: str, collection: str = "") -> SearchResults:
        """Search the documents. Returns passages, the most relevant first; `fetch` returns one of them whole."""
        now = parts()
        name = now.collections.require(collection) if collection else now.collections.default
        asked = Asked(Question("", require_question(query, "query")), now.collections.pipeline(name))
        ranked = await anext(answering(asked, now.scheduler, Ticket("mcp")))
        assert isinstance(ranked, Ranked)
        found = [c.passage for c in ranked.decision.ranking[:RESULTS]]
        return SearchResults(results=[SearchResult(**_shown(now, name, passage)) for passage in found])

    @tool
    async def fetch(id: str) -> Fetched:  # noqa: A002  ChatGPT's contract names it so
        """Return a passage that `search` found, whole, with its place in the document."""
        now = parts()
        passage = now.collections.passage(id)
        name = id.partition("/")[0]
        metadata = {"collection": name, "place": shown_place(passage)}
        return Fetched(**_shown(now, name, passage), text=passage.text, metadata=metadata)

    @tool
    async def ask(question: str, collection: str = "") -> Answered:
        """Answer a question from the documents, with the passages that support it, or say that they hold no answer."""
        now = parts()
        name = now.collections.require(collection) if collection else now.collections.default
        asked = Asked(Question("", require_question(question)), now.collections.pipeline(name))
        answer = [event async for event in answering(asked, now.scheduler, Ticket("mcp"))][-1]
        assert isinstance(answer, Answer)
        passages = [
            _shown(now, name, c.passage) | {"text": c.passage.text, "score": answer.relevance.get(c.passage.id, 0.0)}
            for c in answer.contexts
        ]
        return Answered(text=with_markers(answer.text, answer.citations), abstained=answer.abstained, passages=passages)

    @tool
    async def rerank(query: str, documents: list[str]) -> RankedDocuments:
        """Order documents by the probability that each is relevant to the query."""
        now = parts()
        question = Question("", require_question(query, "query"))
        pairs = [(question, Passage(str(place), text)) for place, text in enumerate(documents)]
        judged = await now.scheduler.judge(pairs, Ticket("mcp"))
        order = sorted(range(len(judged)), key=lambda i: -judged[i].probability)
        return RankedDocuments(results=[RankedDocument(index=i, relevance_score=judged[i].probability) for i in order])

    return server


def _telling(function: Tool) -> Tool:
    """Make a tool tell an agent what is wrong with its call; the text of any other error stays on the server."""

    @wraps(function)
    async def telling(*arguments: Any, **named: Any) -> Any:
        try:
            return await function(*arguments, **named)
        except RankragError as error:
            raise ToolError(str(error)) from error

    return cast(Tool, telling)


def _shown(parts: Parts, collection: str, passage: Passage) -> dict[str, str]:
    return {
        "id": parts.collections.address(collection, passage),
        "title": shown_place(passage) or passage.title or passage.id,
        "url": parts.collections.link(parts.base_url, passage),
    }
