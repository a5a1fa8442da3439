"""The real Open WebUI over a server: open_webui_page.py OPEN_WEBUI URL FOLDER, with its command in an environment of
its own (`pip install open-webui==0.12.4`, 3 GB). Prints a row of JSON for each thing done, and leaves a screenshot.

A person asks in its page and opens the cited source; then a file goes in through its own retrieval, which takes our
vectors and our reranker.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
from playwright.sync_api import sync_playwright

COMMAND, URL, FOLDER = sys.argv[1], sys.argv[2], Path(sys.argv[3])
PORT = 8913
OURS = {"OPENAI_API_BASE_URLS": f"{URL}/v1", "RAG_OPENAI_API_BASE_URL": f"{URL}/v1"}
SETTINGS = OURS | {
    "RAG_EXTERNAL_RERANKER_URL": f"{URL}/v1/rerank",
    "RAG_RERANKING_ENGINE": "external",
    "RAG_RERANKING_MODEL": "rankrag",
    "RAG_EMBEDDING_ENGINE": "openai",
    "RAG_EMBEDDING_MODEL": "rankrag",
    "ENABLE_RAG_HYBRID_SEARCH": "true",
    "OPENAI_API_KEYS": "key",
    "RAG_OPENAI_API_KEY": "key",
    "RAG_EXTERNAL_RERANKER_API_KEY": "key",
    "ENABLE_OLLAMA_API": "false",
    "WEBUI_AUTH": "False",
    "WEBUI_SECRET_KEY": "secret",
    "OFFLINE_MODE": "true",
    "DATA_DIR": str(FOLDER / "data"),
}
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
SLOW = 600_000
IBERIA = "# Iberia\n\n## Tagus\n\nThe Tagus is the longest river of Iberia.\n\n## Bread\n\nBread is baked from flour.\n"


def row(call: str, found: object) -> None:
    print(json.dumps({"client": "Open WebUI 0.12.4", "call": call, "found": found}), flush=True)


def until(condition, seconds: float = 600):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(1)
    return found


def is_up() -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{PORT}/api/config").status_code == 200
    except httpx.TransportError:
        return False


def ask_in_its_page() -> None:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(SLOW)
        page.goto(f"http://127.0.0.1:{PORT}/?models=rankrag", wait_until="domcontentloaded")
        page.wait_for_selector("#chat-input")
        page.get_by_text("Okay, Let's Go!").click()
        page.click("#chat-input")
        page.keyboard.type("Who led elephants over the Brooklyn Bridge?")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=P. T. Barnum")
        page.get_by_text("1 Source").click()
        row("an answer in its page", "P. T. Barnum" in page.inner_text("body"))
        page.locator("button:has-text('brooklyn-bridge')").first.click()
        page.wait_for_selector("text=twenty-one elephants")
        shown = page.inner_text("body")
        row(
            "the cited passage with its badge",
            ["twenty-one elephants" in shown, "%" in shown.split("Content", 1)[1][:12]],
        )
        page.screenshot(path=FOLDER / "open-webui.png")
        browser.close()


def ask_its_own_retrieval() -> None:
    web = httpx.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=600)
    token = web.post("/api/v1/auths/signin", json={"email": "", "password": ""}).json()["token"]
    web.headers["Authorization"] = f"Bearer {token}"
    file = web.post("/api/v1/files/", files={"file": ("iberia.md", IBERIA, "text/markdown")}).json()["id"]
    until(lambda: web.get(f"/api/v1/files/{file}/process/status").json()["status"] == "completed")
    body = {"collection_name": f"file-{file}", "query": "Which river is the longest?", "k": 3, "k_reranker": 3}
    found = web.post("/api/v1/retrieval/query/doc", json=body | {"hybrid": True}).json()
    row(
        "its own retrieval with our vectors and reranker",
        ["Tagus" in found["documents"][0][0], found["distances"][0][0] > 0.5],
    )


with (FOLDER / "open-webui.log").open("w") as log:
    server = subprocess.Popen(
        [COMMAND, "serve", "--port", str(PORT), "--host", "127.0.0.1"],
        env=os.environ | SETTINGS,
        stdout=log,
        stderr=log,
        cwd=FOLDER,
    )
    try:
        until(is_up)
        ask_in_its_page()
        ask_its_own_retrieval()
    finally:
        server.terminate()
        server.wait(60)
