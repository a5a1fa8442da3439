"""Real clients, unchanged, against a real server; the table of docs/clients.md is what they did here."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

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
    "Reranker(url)": [TAGUS],
    "Searcher(url)": ["tagus.md"],
    "our compressor": [TAGUS],
    "our cross-encoder": [0, 1, 0],
    "our retriever": ["tagus.md"],
    "our postprocessor": [TAGUS],
    "our ranker in a pipeline": [TAGUS],
    "our ranker, stored and asynchronous": [TAGUS],
    "our transformer": ["d1"],
}


OURS = {**os.environ, "PYTHONPATH": str(ROOT / "src")}


def python(environment: str) -> Path:
    return ROOT / ".cache" / f"clients-{environment}" / "bin" / "python"


def rows(environment: str, script: str, url: str) -> list[dict]:
    path = ROOT / "tests" / "acceptance" / "scripts" / script
    command = [python(environment), path, url]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=OURS)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"client"')]


@pytest.fixture(scope="module")
def called(served) -> list[dict]:
    theirs = rows("new", "clients_new.py", served.url) + rows("old", "clients_old.py", served.url)
    return theirs + rows("old", "adapters.py", served.url)


def test_our_langchain_retriever_passes_langchains_own_tests(served):
    script = ROOT / "tests" / "acceptance" / "scripts" / "standard_langchain.py"
    command = [python("old"), "-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider", "-c", "/dev/null"]
    command += ["-o", "asyncio_mode=auto", script]
    environment = {**OURS, "RANKRAG_URL": served.url}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)
    assert done.returncode == 0, done.stdout[-3000:]


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
