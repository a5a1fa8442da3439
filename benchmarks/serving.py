"""Shared by the benchmarks of servers: a free port, a server's process, and the table of what was measured."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import httpx
from harness import ROOT, put_figures

PAGE = ROOT / "docs" / "performance-serve.md"
WITHOUT_WEIGHTS = ROOT / "tests" / "acceptance" / "scripts" / "serve_without_weights.py"
"""Serves a model without weights; takes a folder and a port."""


def free_port() -> int:
    """Return a port of loopback that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def serving(command: Sequence[str], port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Yield the process of a server that is ready; at the end it is stopped as by Ctrl-C."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for(process, port)
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int, seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        if process.poll() is not None:
            raise SystemExit(f"{process.args!r} ended with {process.returncode}")
        time.sleep(0.1)
    raise SystemExit(f"not ready after {seconds / 60:g} minutes")


def put_table(made_by: str, head: str, header: Sequence[str], rows: Iterable[Sequence[str]], foot: str = "") -> str:
    """Put a table with a sentence before and after it between the page's marks of its maker; return the text."""
    lines = [f"| {' | '.join(row)} |" for row in (header, ["---"] * len(header), *rows)]
    text = [head, "", *lines, *(["", foot] if foot else [])]
    put_figures(PAGE, f"`{made_by}`", text)
    return "\n".join(text)
