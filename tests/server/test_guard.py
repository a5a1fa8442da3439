from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from rankrag.errors import ConfigError
from rankrag.server.guard import check_exposed, is_loopback

KEY = "a-long-enough-key"
RERANK = {"query": "q", "documents": ["a"]}


@pytest.fixture
def locked(serving, model, index):
    with serving(model, index, key=KEY) as client:
        yield client


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}"},
        {"Authorization": KEY},
        {"X-API-Key": KEY},
        {"authorization": f"bearer {KEY}"},
    ],
)
def test_the_key_is_taken_in_every_clients_form(locked, headers):
    assert locked.post("/rerank", json=RERANK, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": ""}, {"Authorization": "Bearer"}, {"Authorization": f"Bearer {KEY}x"}, {"X-API-Key": "ä"}],
)
def test_without_the_key_nothing_is_answered(locked, headers):
    response = locked.post("/rerank", json=RERANK, headers={k: v.encode() for k, v in headers.items()})
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert KEY not in response.text


@pytest.mark.parametrize("path", ["/", "/health", "/ready", "/static/app.js"])
def test_the_page_and_the_probes_need_no_key(locked, path):
    assert locked.get(path).status_code == 200


@pytest.mark.parametrize(
    "path", ["/v1/models", "/metrics", "/v1/collections", "/mcp/", "/openapi.json", "/static/../v1/models"]
)
def test_everything_else_needs_it(locked, path):
    assert locked.get(path).status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "localhost.evil.example"}, 421),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Origin": "http://localhost", "Host": "localhost"}, 200),
        ({"Host": "127.0.0.1:8000"}, 200),
        ({"Host": "[::1]:8000"}, 200),
    ],
)
def test_without_a_key_only_this_machines_own_pages_may_ask(client, headers, status):
    assert client.post("/rerank", json=RERANK, headers=headers).status_code == status


def test_answers_forbid_guessing_of_types_and_foreign_scripts(client):
    headers = client.get("/").headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "script-src 'self'" in headers["Content-Security-Policy"]


def test_a_request_that_is_too_large_is_refused_while_it_is_read(client, monkeypatch):
    monkeypatch.setattr("rankrag.server.guard.JSON_LIMIT", 1000)
    body = {"query": "q", "documents": ["x" * 5000]}
    response = client.post("/rerank", json=body)
    assert response.status_code == 413


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::", "example.org"])
def test_a_server_that_others_can_reach_needs_a_key(host):
    with pytest.raises(ConfigError, match="RANKRAG_API_KEY"):
        check_exposed(host, None)
    check_exposed(host, KEY)


@pytest.mark.parametrize(
    ("host", "own"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("10.0.0.1", False)]
)
def test_loopback_is_this_machine(host, own):
    assert is_loopback(host) is own


def test_a_body_of_unknown_length_is_not_read_beyond_the_limit(client, monkeypatch):
    monkeypatch.setattr("rankrag.server.guard.JSON_LIMIT", 1000)

    def pieces():
        yield b'{"query": "q", "documents": ["'
        for _ in range(100):
            yield b"x" * 100
        yield b'"]}'

    response = client.post("/rerank", content=pieces(), headers={"Content-Type": "application/json"})
    assert response.status_code == 413


def test_a_proxy_may_show_the_server_under_a_path(client):
    proxied = TestClient(client.app, base_url="http://localhost", root_path="/rag")
    page = proxied.get("/rag/")
    assert 'src="/rag/static/app.js"' in page.text
    assert proxied.get("/rag/documents/0a1b").text == page.text
    assert proxied.get("/rag/static/app.js").status_code == 200
    body = {"messages": [{"role": "user", "content": "Which river is the longest?"}]}
    (first, *_) = proxied.post("/rag/v1/chat/completions", json=body).json()["rankrag"]["passages"]
    assert first["url"].startswith("http://localhost/rag/documents/")
