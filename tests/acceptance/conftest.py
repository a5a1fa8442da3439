"""A real server: a process of its own with rankrag-mini over the examples, asked over a socket."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.training.conftest import config_of, examples_of, mixed  # noqa: F401 - fixtures

ROOT = Path(__file__).parents[2]


@dataclass
class Served:
    """A server that runs: its address and its process."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def memory(self) -> int:
        """Bytes of memory that it holds."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def start(command: list[str], log: Path, port: int, *, seconds: float = 300) -> Served:
    """Start a server and wait until it is ready; one that is not in time is ended."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, cwd=log.parent)
    served = Served(f"http://127.0.0.1:{port}", process, log)
    try:
        wait_for(served, time.monotonic() + seconds)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return served


def wait_for(served: Served, end: float) -> None:
    while True:
        try:
            if httpx.get(f"{served.url}/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        assert served.process.poll() is None, served.log.read_text()
        assert time.monotonic() < end, served.log.read_text()
        time.sleep(0.1)


@pytest.fixture(scope="session")
def example_index(tmp_path_factory) -> Path:
    index = tmp_path_factory.mktemp("served") / "examples.index"
    command = [sys.executable, "-m", "rankrag", "index", ROOT / "examples" / "corpus", "--out", index]
    subprocess.run(command, check=True, capture_output=True)
    return index


@pytest.fixture(scope="session")
def served(example_index) -> Iterator[Served]:
    port = free_port()
    command = [sys.executable, "-m", "rankrag", "serve", str(example_index), "--port", str(port)]
    found = start(command, example_index.parent / "serve.log", port)
    yield found
    found.process.send_signal(signal.SIGINT)
    assert found.process.wait(60) == 0, found.log.read_text()
    assert "Traceback" not in found.log.read_text()


@pytest.fixture(scope="session")
def light(tmp_path_factory) -> Iterator[Served]:
    """A server whose model has no weights: what it makes of requests is the same, a thousand times as fast."""
    folder, port = tmp_path_factory.mktemp("light"), free_port()
    script = ROOT / "tests" / "acceptance" / "scripts" / "serve_without_weights.py"
    found = start([sys.executable, str(script), str(folder), str(port)], folder / "serve.log", port)
    yield found
    found.process.send_signal(signal.SIGINT)
    found.process.wait(60)
    assert "Traceback" not in found.log.read_text()
