"""Real clients, unchanged, against a real server; the table of docs/clients.md is what they did here."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.acceptance.conftest import ROOT

pytestmark = pytest.mark.acceptance

TAGUS = "The Tagus is the longest river of the Iberian Peninsula."
EXPECTED = {
    "rerank v2": lambda found: found[0] == 1,
    "rerank v1 with documents": [TAGUS],
    "an error": "query is empty; send a text",
    "rerank": lambda found: found[0] == [1, TAGUS] and len(found) == 2,
    "models": ["rankrag", "rankrag-plain"],
    "chat": "P. T. Barnum [1]",
    "chat: citations": lambda found: found.startswith("brooklyn-bridge.md"),
    "chat: our own fields": False,
    "chat, streamed": "P. T. Barnum [1]",
    "chat over documents of the request": "The Tagus [1]",
    "chat without retrieval": True,
    "responses": "P. T. Barnum [1]",
    "responses, streamed": "P. T. Barnum [1]",
    "decisions": True,
    "embeddings": [384, 384],
    "CohereRerank": [TAGUS],
    "JinaRerank": [TAGUS],
    "HuggingFaceTEIRanker": [TAGUS],
}


def rows(environment: str, url: str) -> list[dict]:
    script = ROOT / "tests" / "acceptance" / "scripts" / f"clients_{environment}.py"
    python = ROOT / ".cache" / f"clients-{environment}" / "bin" / "python"
    done = subprocess.run([python, script, url], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"client"')]


@pytest.fixture(scope="module")
def called(served) -> list[dict]:
    return rows("new", served.url) + rows("old", served.url)


def test_every_call_of_every_client_finds_what_it_should(called):
    wrong = []
    for one in called:
        expected = EXPECTED[one["call"]]
        right = expected(one["found"]) if callable(expected) else one["found"] == expected
        if not right:
            wrong.append(one)
    assert not wrong
    assert {one["call"] for one in called} == set(EXPECTED)


def test_the_table_of_clients_is_what_was_called(called):
    lines = [f"| {one['client']} | {one['call']} | yes |" for one in called]
    head = [
        "# Clients",
        "",
        "Real clients that call `rankrag serve` unchanged. `make acceptance` calls each of them and writes this page.",
        "",
        "| client | call | works |",
        "|---|---|---|",
    ]
    (ROOT / "docs" / "clients.md").write_text("\n".join([*head, *lines]) + "\n", encoding="utf-8")
    assert len(lines) >= 20
