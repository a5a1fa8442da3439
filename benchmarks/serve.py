"""`rankrag serve` under load, beside a plain server that takes one request at a time: docs/performance-serve.md.

    python benchmarks/serve.py INDEX --questions examples/questions.jsonl --seconds 600 --clients 64
    python benchmarks/serve.py INDEX --seconds 600 --without-weights    # the server's own memory, on a busy machine too

The requests are the same for both: 70 % rerank 20 passages drawn from 400, so that passages come again, and 30 % ask
the index. What is asked follows Zipf's law. Each server runs alone. Nothing that was accepted may be lost. All passages
are ranked once before the clients begin, so that kept states have reached their limit when memory is first looked at.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

import httpx
from serving import WITHOUT_WEIGHTS, free_port, put_table, serving

from rankrag.retrieval.store import PassageStore

PASSAGES, DRAWN, RERANK_SHARE = 400, 20, 0.7
OURS = "rankrag serve"
PLAIN = "one at a time"
LIGHT = "rankrag serve, a model without weights"


@dataclass
class Outcome:
    """What one server did: seconds of each request, statuses, memory over time (seconds, bytes)."""

    name: str
    latencies: list[float] = field(default_factory=list)
    statuses: dict[int, int] = field(default_factory=dict)
    memory: list[tuple[float, int]] = field(default_factory=list)
    lone: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def throughput(self) -> float:
        return self.statuses.get(200, 0) / self.seconds

    @property
    def p99(self) -> float:
        return quantiles(self.latencies, n=100)[98]

    @property
    def drift(self) -> float:
        """Memory at the end over memory after the first minute (or the first tenth of a short run)."""
        settled = [held for at, held in self.memory if at >= min(60, self.seconds / 10)]
        return settled[-1] / settled[0]

    def memory_at(self, second: float) -> int:
        """Return MiB held at a time, or at the end if that was before."""
        return next((held for at, held in self.memory if at >= second), self.memory[-1][1]) // 2**20


def requests(passages: list[str], questions: list[str], seed: int) -> list[tuple[str, dict]]:
    """Return the requests of one client, endless enough for any run."""
    rng = random.Random(seed)
    weights = [1 / rank for rank in range(1, len(questions) + 1)]
    found = []
    for _ in range(5000):
        (question,) = rng.choices(questions, weights)
        if rng.random() < RERANK_SHARE:
            found.append(("/v1/rerank", {"query": question, "documents": rng.sample(passages, DRAWN)}))
        else:
            found.append(("/v1/chat/completions", {"messages": [{"role": "user", "content": question}]}))
    return found


async def load(outcome: Outcome, port: int, pid: int, plans: list[list[tuple[str, dict]]], seconds: float) -> None:
    end, started = time.monotonic() + seconds, time.monotonic()

    async def client(plan: list[tuple[str, dict]]) -> None:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=None) as web:
            for path, body in plan:
                if time.monotonic() >= end:
                    return
                before = time.monotonic()
                response = await web.post(path, json=body)
                outcome.statuses[response.status_code] = outcome.statuses.get(response.status_code, 0) + 1
                outcome.latencies.append(time.monotonic() - before)
                if response.status_code == 429:
                    await asyncio.sleep(float(response.headers["Retry-After"]))

    async def watch() -> None:
        while time.monotonic() < end:
            resident = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            outcome.memory.append((time.monotonic() - started, resident))
            await asyncio.sleep(1)

    await asyncio.gather(watch(), *(client(plan) for plan in plans))
    outcome.seconds = time.monotonic() - started


async def lone_behind_long(outcome: Outcome, port: int, passages: list[str], rounds: int = 3) -> None:
    """Time a request of two passages that comes while one of 100 is being ranked."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=None) as web:
        for number in range(rounds):
            long = [f"{text} {number}" for text in passages[:100]]
            body = {"query": "What is told here?", "documents": long}
            waiting = asyncio.create_task(web.post("/v1/rerank", json=body, headers={"Authorization": "long"}))
            await asyncio.sleep(0.3)
            before = time.monotonic()
            short = {"query": f"A short question, number {number}?", "documents": passages[:2]}
            await web.post("/v1/rerank", json=short, headers={"Authorization": "short"})
            outcome.lone.append(time.monotonic() - before)
            await waiting


def fill(port: int, given: argparse.Namespace, texts: list[str], name: str) -> None:
    """Rank all passages once. A server without weights gets the examples first, as uploads."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=None) as web:
        if name == LIGHT:
            paths = [path for path in sorted(given.examples.rglob("*")) if path.is_file()]
            files = [("files", (path.name, path.read_bytes())) for path in paths]
            web.post("/v1/collections/kill/documents", files=files).raise_for_status()
            while web.get("/v1/collections/kill/documents").json()["pending"]:
                time.sleep(1)
        for start_ in range(0, len(texts), 50):
            body = {"query": "What is told here?", "documents": texts[start_ : start_ + 50]}
            web.post("/v1/rerank", json=body).raise_for_status()


def measured(name: str, command: list[str], given: argparse.Namespace, texts: list[str], asked: list[str]) -> Outcome:
    port, outcome = free_port(), Outcome(name)
    last = [str(port)] if name == LIGHT else ["--port", str(port)]
    with serving([*command, *last], port) as process:
        fill(port, given, texts, name)
        plans = [requests(texts, asked, seed) for seed in range(given.clients)]
        asyncio.run(load(outcome, port, process.pid, plans, given.seconds))
        if name != LIGHT:
            asyncio.run(lone_behind_long(outcome, port, texts))
    return outcome


def written(found: list[Outcome], given: argparse.Namespace, load_before: float) -> str:
    """Write a table of what the servers did, with their memory over time; return it."""
    rows = [
        ("requests answered a second", *(f"{one.throughput:.2f}" for one in found)),
        ("median latency, s", *(f"{median(one.latencies):.2f}" for one in found)),
        ("p99 latency, s", *(f"{one.p99:.2f}" for one in found)),
        ("a lone short request behind a long one, longest of three, s", *(_longest(one.lone) for one in found)),
        ("statuses", *(", ".join(f"{k}: {v}" for k, v in sorted(one.statuses.items())) for one in found)),
        ("memory at the end / after the first minute", *(f"{one.drift:.3f}" for one in found)),
        *((f"MiB after {m} min", *(str(one.memory_at(60 * m)) for one in found)) for m in _minutes(given.seconds)),
    ]
    extra = " --without-weights" if given.without_weights else ""
    command = f"python benchmarks/serve.py INDEX --seconds {given.seconds:g} --clients {given.clients}{extra}"
    head = (
        f"{given.clients} clients for {given.seconds:g} seconds on loopback, two cores; other work made a load of "
        f"{load_before:.1f}. Made by `{command}`."
    )
    foot = f"Throughput ratio: {found[0].throughput / found[1].throughput:.2f}." if len(found) == 2 else ""
    return put_table(f"python benchmarks/serve.py{extra}", head, ["", *(one.name for one in found)], rows, foot)


def _longest(seconds: list[float]) -> str:
    return f"{max(seconds):.2f}" if seconds else "not timed"


def _minutes(seconds: float) -> list[int]:
    return [minute for minute in (1, 2, 3, 5, 7, 10, 20, 30, 60) if 60 * minute <= seconds]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("--questions", type=Path, default=Path("examples/questions.jsonl"))
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--model", default="rankrag-mini")
    parser.add_argument("--examples", type=Path, default=Path("examples/corpus"))
    parser.add_argument("--without-weights", action="store_true")
    given = parser.parse_args()
    stored = [passage.text for passage in PassageStore.open(given.index).passages()]
    texts = [f"{text} (copy {copy})" if copy else text for copy in range(10) for text in stored][:PASSAGES]
    asked = [json.loads(line)["question"] for line in given.questions.read_text(encoding="utf-8").splitlines()]
    ours = [sys.executable, "-m", "rankrag", "serve", str(given.index), "--model", given.model]
    plain = [sys.executable, str(Path(__file__).with_name("plain_server.py")), str(given.index), "--model", given.model]
    load_before = os.getloadavg()[1]
    if given.without_weights:
        with tempfile.TemporaryDirectory() as folder:
            light = [sys.executable, str(WITHOUT_WEIGHTS), folder]
            found = [measured(LIGHT, light, given, texts, asked)]
    else:
        found = [measured(OURS, ours, given, texts, asked), measured(PLAIN, plain, given, texts, asked)]
    print(written(found, given, load_before))


if __name__ == "__main__":
    main()
