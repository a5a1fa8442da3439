"""kill -9 while a server indexes and answers: the index is intact, and an upload is either whole or absent."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from rankrag.retrieval.store import PassageStore
from tests.acceptance.conftest import free_port, start

pytestmark = pytest.mark.acceptance

KILLS = 50
SCRIPT = Path(__file__).parent / "scripts" / "serve_without_weights.py"


def test_fifty_kills_lose_nothing_that_was_accepted(tmp_path):
    rng, accepted = random.Random(0), {}
    for round_ in range(KILLS):
        port = free_port()
        served = start([sys.executable, str(SCRIPT), str(tmp_path), str(port)], tmp_path / "serve.log", port)
        stop = threading.Event()

        def upload(round_=round_, url=served.url, stop=stop) -> None:
            for count in range(1000):
                if stop.is_set():
                    return
                name, text = f"note-{round_}-{count}.md", f"# Note {round_} {count}\n\n" + "A longest line. " * 2000
                try:
                    response = httpx.post(
                        f"{url}/v1/collections/kill/documents", files=[("files", (name, text))], timeout=10
                    )
                except httpx.TransportError:
                    return
                if response.status_code == 202 and response.json()["files"][0]["state"] == "queued":
                    accepted[name] = text

        def ask(url=served.url, stop=stop) -> None:
            while not stop.is_set():
                try:
                    httpx.post(f"{url}/v1/rerank", json={"query": "q", "documents": ["a", "b"]}, timeout=10)
                except httpx.TransportError:
                    return

        threads = [threading.Thread(target=upload), threading.Thread(target=ask)]
        for thread in threads:
            thread.start()
        time.sleep(rng.uniform(0.05, 1.0))
        os.kill(served.process.pid, signal.SIGKILL)
        served.process.wait()
        stop.set()
        for thread in threads:
            thread.join()
        assert len(PassageStore.open(tmp_path / "kill.index")) >= 0
    files = tmp_path / "kill.index.files"
    assert accepted
    assert all((files / name).read_text() == text for name, text in accepted.items())
    port = free_port()
    served = start([sys.executable, str(SCRIPT), str(tmp_path), str(port)], tmp_path / "serve.log", port)
    try:
        end, known = time.monotonic() + 120, set()
        while not set(accepted) <= known:
            assert time.monotonic() < end, sorted(set(accepted) - known)[:5]
            listed = httpx.get(f"{served.url}/v1/collections/kill/documents", timeout=30).json()["data"]
            known = {document["name"] for document in listed}
            time.sleep(0.2)
        assert not list(files.glob(".*.partial"))
    finally:
        served.process.kill()
        served.process.wait()
