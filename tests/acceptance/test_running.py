"""Servers beside others and at their end: each is a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.acceptance.conftest import ROOT, Served, free_port, start

pytestmark = pytest.mark.acceptance

SCRIPT = Path(__file__).parent / "scripts" / "serve_without_weights.py"
DOCUMENTS = "v1/collections/kill/documents"


def serve(folder: Path, seconds: float = 0, name: str = "serve") -> Served:
    port = free_port()
    return start([sys.executable, str(SCRIPT), str(folder), str(port), str(seconds)], folder / f"{name}.log", port)


def ended(served: Served) -> int:
    served.process.send_signal(signal.SIGINT)
    return served.process.wait(60)


def until(condition, seconds: float = 60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.1)
    return found


def names(served: Served) -> set[str]:
    return {one["name"] for one in httpx.get(f"{served.url}/{DOCUMENTS}", timeout=60).json()["data"]}


def upload(served: Served, name: str, text: str) -> None:
    files = [("files", (name, f"# {name}\n\n{text}\n"))]
    assert httpx.post(f"{served.url}/{DOCUMENTS}", files=files, timeout=60).status_code == 202


def found(served: Served, query: str) -> str:
    results = httpx.post(f"{served.url}/v1/search", json={"query": query}, timeout=60).json()["results"]
    return " ".join(one["text"] for one in results)


def test_a_stopping_server_answers_what_it_accepted_and_ends_streams_without_end(tmp_path):
    served = serve(tmp_path, seconds=0.5)
    upload(served, "note.md", "The longest note.")
    until(lambda: names(served) == {"note.md"})
    body = {"query": "q", "documents": [f"{n} " + "word " * 700 for n in range(20)]}
    ended_by_server = threading.Event()

    def watch() -> None:
        with httpx.stream("GET", f"{served.url}/v1/collections/kill/events", timeout=60) as stream:
            for _ in stream.iter_lines():
                pass
        ended_by_server.set()

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(httpx.post, f"{served.url}/v1/rerank", json=body, timeout=120) for _ in range(8)]
        until(lambda: "rankrag_waiting 8.0" in httpx.get(f"{served.url}/metrics", timeout=30).text)
        assert ended(served) == 0
        assert [one.result().status_code for one in asked] == [200] * 8
    assert ended_by_server.wait(5)
    assert "Traceback" not in served.log.read_text()


def test_two_servers_share_an_index(tmp_path):
    one, other = serve(tmp_path, name="one"), serve(tmp_path, name="other")
    try:
        upload(one, "duero.md", "The Duero ends at Porto.")
        until(lambda: "duero.md" in names(other))
        until(lambda: "Porto" in found(other, "Where does the Duero end?"))
        threads = [
            threading.Thread(target=upload, args=(server, f"{name}-{n}.md", f"Note {n} of {name}. " * 50))
            for n in range(15)
            for name, server in (("one", one), ("other", other))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wanted = {"duero.md", *(f"{name}-{n}.md" for n in range(15) for name in ("one", "other"))}
        until(lambda: names(one) == names(other) == wanted, 180)
        (duero,) = [d for d in httpx.get(f"{one.url}/{DOCUMENTS}").json()["data"] if d["name"] == "duero.md"]
        assert httpx.delete(f"{one.url}/{DOCUMENTS}/{duero['id']}", timeout=60).status_code == 200
        until(lambda: "duero.md" not in names(other))
        until(lambda: "Porto" not in found(other, "Where does the Duero end?"))
    finally:
        codes = [ended(one), ended(other)]
    assert all(code == 0 for code in codes)
    assert "Traceback" not in one.log.read_text() + other.log.read_text()


def test_an_index_that_another_process_changes_is_asked_in_its_new_state(tmp_path):
    served, folder = serve(tmp_path), tmp_path / "corpus"
    folder.mkdir()
    index = [sys.executable, "-m", "rankrag", "index", folder, "--out", tmp_path / "kill.index", "--no-vectors"]
    try:
        for name in ("Porto", "Vigo"):
            (folder / "duero.md").write_text(f"# Duero\n\nThe Duero ends at {name}.\n")
            subprocess.run(index, check=True, capture_output=True)
            until(lambda name=name: name in found(served, "Where does the Duero end?"))
        assert "Porto" not in found(served, "Where does the Duero end?")
    finally:
        ended(served)
    assert "Traceback" not in served.log.read_text()


def test_a_server_whose_model_fails_says_why_and_stays(tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "rankrag", "serve", tmp_path / "new.index", "--port", str(port)]
    command += ["--model", tmp_path / "no-model"]
    with (tmp_path / "serve.log").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=tmp_path)
    url = f"http://127.0.0.1:{port}"

    def told() -> str:
        try:
            response = httpx.get(f"{url}/ready")
        except httpx.TransportError:
            return ""
        return response.json()["status"] if response.status_code == 503 else ""

    try:
        until(lambda: "cannot be loaded" in told(), 180)
        assert "no-model" in told()
        assert httpx.get(f"{url}/health").status_code == 200
        assert httpx.get(url).status_code == 200, "the page shows the reason"
        response = httpx.post(f"{url}/v1/rerank", json={"query": "q", "documents": ["a"]})
        assert (response.status_code, "no-model" in response.json()["message"]) == (503, True)
        assert "Retry-After" in response.headers
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert "Traceback" not in (tmp_path / "serve.log").read_text()


def test_the_dockerfile_has_no_finding():
    hadolint = ROOT / ".cache" / "clients-new" / "bin" / "hadolint"
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
