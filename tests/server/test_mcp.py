from __future__ import annotations

import asyncio

import pytest

from rankrag.server.mcp import mcp_server

mcp = pytest.importorskip("mcp")


@pytest.fixture
def called(client):
    """Call a tool of a running server; returns what it returned as an object."""
    app = client.app.app
    loop_of = client.portal

    def call(name: str, **arguments):
        async def inside():
            server = mcp_server(lambda: app.state.parts)
            async with mcp.Client(server) as agent:
                return await agent.call_tool(name, arguments)

        return loop_of.call(inside)

    return call


def test_search_and_fetch_follow_chatgpts_contract(called):
    (first, *_) = called("search", query="the longest river").structured_content["results"]
    fetched = called("fetch", id=first["id"]).structured_content
    assert first["title"].startswith("tagus.md")
    assert first["url"].startswith("http://")
    assert set(fetched) == {"id", "title", "text", "url", "metadata"}
    assert "Iberian Peninsula" in fetched["text"]
    assert "/corpus" not in first["id"], "an id says nothing of this machine's folders"


def test_ask_answers_with_its_passages(called):
    found = called("ask", question="Which river is the longest?").structured_content
    assert found["text"] == "The Tagus [1]"
    assert found["abstained"] is False
    assert found["passages"][0]["score"] == pytest.approx(0.9)


def test_rerank_orders_documents(called):
    found = called("rerank", query="river", documents=["bread", "the longest"]).structured_content
    assert [r["index"] for r in found["results"]] == [1, 0]


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("fetch", {"id": "demo/none/1"}, "document 'none' is not in collection 'demo'"),
        ("fetch", {"id": "nowhere"}, "collection 'nowhere' is not known; known: demo"),
        ("search", {"query": " "}, "query is empty; send a text"),
        ("ask", {"question": "x", "collection": "none"}, "known: demo"),
        ("rerank", {"query": "", "documents": ["a"]}, "query is empty"),
    ],
)
def test_a_tool_says_what_is_wrong_with_its_arguments(called, caplog, tool, arguments, said):
    found = called(tool, **arguments)
    assert found.is_error
    assert said in found.content[0].text
    assert "Traceback" not in caplog.text


def test_a_fault_of_the_server_is_logged_and_not_told(called, model, caplog, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("a secret of the server")

    monkeypatch.setattr(type(model), "choice_logprobs", broken)
    found = called("rerank", query="q", documents=["a"])
    assert found.is_error
    assert "secret" not in found.content[0].text
    assert "a secret of the server" in caplog.text


def test_all_tools_are_read_only(client):
    server = mcp_server(lambda: client.app.app.state.parts)
    tools = asyncio.run(server.list_tools())
    assert {tool.name for tool in tools} == {"search", "fetch", "ask", "rerank"}
    assert all(tool.annotations.read_only_hint for tool in tools)


@pytest.mark.parametrize("path", ["/mcp", "/mcp/"])
def test_the_tools_are_at_mcp_without_a_redirect(client, path):
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}},
    }
    headers = {"Accept": "application/json, text/event-stream"}
    response = client.post(path, json=body, headers=headers, follow_redirects=False)
    assert response.status_code == 200
    assert "rankrag" in response.text
