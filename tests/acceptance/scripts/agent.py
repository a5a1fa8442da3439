"""Calls of MCP's own Python client, over a socket and over stdio: agent.py URL INDEX. Prints a row of JSON for each."""

import asyncio
import json
import sys
from importlib.metadata import version

import mcp

URL, INDEX = sys.argv[1:]
QUERY = "What is the longest river of the Iberian Peninsula?"


async def call_all(client: str, server: object) -> None:
    """Call every tool as an agent would: search, read the best passage, ask, rerank."""

    def row(call: str, found: object) -> None:
        print(json.dumps({"client": client, "call": call, "found": found}))

    async with mcp.Client(server, read_timeout_seconds=300) as agent:
        tools = (await agent.list_tools()).tools
        row("tools, all read-only", sorted(t.name for t in tools if t.annotations.read_only_hint))
        (best, *_) = (await agent.call_tool("search", {"query": QUERY})).structured_content["results"]
        row("search", best["title"].split(",")[0])
        fetched = (await agent.call_tool("fetch", {"id": best["id"]})).structured_content
        row("fetch", [sorted(fetched), fetched["id"] == best["id"], "Tagus" in fetched["text"]])
        answer = (await agent.call_tool("ask", {"question": QUERY})).structured_content
        row("ask", [answer["text"], answer["abstained"]])
        documents = ["Bread is baked.", fetched["text"]]
        ranked = (await agent.call_tool("rerank", {"query": QUERY, "documents": documents})).structured_content
        row("rerank tool", [one["index"] for one in ranked["results"]])
        unknown = await agent.call_tool("fetch", {"id": "nowhere/none/1"})
        row("an unknown id", [unknown.is_error, unknown.content[0].text])


started = mcp.StdioServerParameters(command=sys.executable, args=["-m", "rankrag", "mcp", INDEX])
asyncio.run(call_all(f"mcp {version('mcp')}, socket", f"{URL}/mcp"))
asyncio.run(call_all(f"mcp {version('mcp')}, stdio", started))
