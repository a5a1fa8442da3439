"""Real clients, unchanged, against a real server; the table of docs/clients.md is what they did here."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import mcp
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
    "Reranker": [TAGUS],
    "Searcher": ["tagus.md"],
    "our compressor": [TAGUS],
    "our cross-encoder": [0, 1, 0],
    "our retriever": ["tagus.md"],
    "our postprocessor": [TAGUS],
    "our ranker in a pipeline": [TAGUS],
    "our ranker, stored and asynchronous": [TAGUS],
    "our transformer": ["d1"],
    "our rm": ["tagus.md"],
    "our rm through dspy.Retrieve": [True],
    "the list of models": ["rankrag", "rankrag-plain"],
    "a streamed answer": "P. T. Barnum [1]",
    "its first source": [True, False, "brooklyn-bridge.md", True],
    "the badge of relevance": [True],
    "a title": [True, False],
    "vectors of uploads": [384, 384, 384],
    "the external reranker": [0, 1, 0],
    "tools, all read-only": ["ask", "fetch", "rerank", "search"],
    "search": "tagus.md",
    "fetch": [["id", "metadata", "text", "title", "url"], True, True],
    "ask": lambda found: "Tagus [1]" in found[0] and found[1] is False,
    "rerank tool": [1, 0],
    "an unknown id": lambda found: found[0] and "collection 'nowhere' is not known; known: examples" in found[1],
}
IN_OPEN_WEBUI = {
    "an answer in its page": True,
    "the cited passage with its badge": [True, True],
    "its own retrieval with our vectors and reranker": [True, True],
}
"""Calls of the real Open WebUI, where it is installed: 3 GB, so that the run replays its requests otherwise."""

SCENARIOS = {
    "server-initialize",
    "ping",
    "tools-list",
    "tools-call-simple-text",
    "tools-call-error",
    "server-sse-multiple-streams",
    "resources-list",
    "prompts-list",
    "dns-rebinding-protection",
}
"""Scenarios of MCP's conformance suite that need no tool or resource of the suite's own example server."""

OPEN_WEBUI = ROOT / ".cache" / "open-webui" / "bin" / "open-webui"
NODE = ROOT / ".cache" / "node" / "node_modules"


HEAD = """# Clients

Real clients that call `rankrag serve` unchanged. `make acceptance` calls each of them and writes this page.

Open WebUI takes 3 GB, so the run replays its requests. The real one (0.12.4, 30 November 2026) showed an answer and the
cited passage with its relevance, and searched its own uploads with our vectors and our reranker. To run it again:
`python3 -m venv .cache/open-webui && .cache/open-webui/bin/pip install open-webui==0.12.4`, then `make acceptance`.

![Open WebUI: the cited passage and its relevance](open-webui.png)

| client | call | works |
|---|---|---|
"""

OURS = {**os.environ, "PYTHONPATH": str(ROOT / "src")}


def python(environment: str) -> Path:
    return ROOT / ".cache" / f"clients-{environment}" / "bin" / "python"


def rows(environment: Path, script: str, *arguments: object, seconds: int = 300) -> list[dict]:
    path = ROOT / "tests" / "acceptance" / "scripts" / script
    command = [environment, path, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds, env=OURS)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"client"')]


def scenarios(url: str, folder: Path) -> list[dict]:
    """Run MCP's conformance suite; return a row for each scenario that passes. Those not offered must fail."""
    suite = NODE / "@modelcontextprotocol" / "conformance"
    expected = Path(__file__).with_name("mcp_not_offered.yaml")
    command = [NODE / ".bin" / "node", suite / "dist" / "index.js", "server", "--url", f"{url}/mcp", "--suite", "all"]
    command += ["--expected-failures", expected, "--output-dir", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    client = f"MCP conformance {json.loads((suite / 'package.json').read_text())['version']}"
    passed = re.findall(r"^✓ ([\w-]+): [1-9]\d* passed, 0 failed", done.stdout, re.MULTILINE)
    return [{"client": client, "call": name, "found": True} for name in passed]


@pytest.fixture(scope="module")
def called(served, example_index, tmp_path_factory) -> list[dict]:
    url = served.url
    return [
        *rows(python("new"), "clients_new.py", url),
        *rows(python("old"), "clients_old.py", url),
        *rows(python("old"), "adapters.py", url),
        *rows(python("old"), "adapters.py", "rankrag-mini", example_index, Path(mcp.__file__).parents[1]),
        *rows(python("dspy"), "dspy_rm.py", url),
        *rows(python("new"), "open_webui.py", url),
        *rows(Path(sys.executable), "agent.py", url, example_index),
        *scenarios(url, tmp_path_factory.mktemp("scenarios")),
    ]


@pytest.mark.parametrize("script", ["standard_langchain.py", "standard_pyterrier.py"])
def test_our_adapters_pass_the_frameworks_own_tests(served, script):
    path = ROOT / "tests" / "acceptance" / "scripts" / script
    command = [python("old"), "-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider", "-c", "/dev/null"]
    command += ["-o", "asyncio_mode=auto", path]
    environment = {**OURS, "RANKRAG_URL": served.url, "PT_TEST_TRANSFORMER_REPORTS": "0"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env=environment)
    assert done.returncode == 0, done.stdout[-3000:]


def test_every_call_of_every_client_finds_what_it_should(called):
    wrong = []
    for one in called:
        expected = one["call"] in SCENARIOS or EXPECTED[one["call"]]
        right = expected(one["found"]) if callable(expected) else one["found"] == expected
        if not right:
            wrong.append(one)
    assert not wrong
    assert {one["call"] for one in called} == set(EXPECTED) | SCENARIOS


@pytest.mark.skipif(not OPEN_WEBUI.is_file(), reason="pip install open-webui==0.12.4 in .cache/open-webui")
def test_the_real_open_webui_shows_what_is_cited(served, tmp_path):
    script = "open_webui_page.py"
    found = rows(python("new"), script, OPEN_WEBUI, served.url, tmp_path, seconds=1800)
    assert {one["call"]: one["found"] for one in found} == IN_OPEN_WEBUI
    shutil.copy(tmp_path / "open-webui.png", ROOT / "docs" / "open-webui.png")


def test_the_table_of_clients_is_what_was_called(called):
    lines = [f"| {one['client']} | {one['call']} | yes |" for one in called]
    (ROOT / "docs" / "clients.md").write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    assert len(lines) >= 20
