"""What `POST /rerank` costs over `Reranker.rank` in process, for 20 documents: docs/performance-serve.md.

    python benchmarks/serve_overhead.py --rounds 15

Each round ranks fresh documents, first in process and then over HTTP, by two processes with the same model; one works
at a time. "Beside the model" is the time of a request less the time in which its pairs were judged (`/metrics`): other
load on the machine slows the model, but hardly this. Without weights, judging takes no time: what is left is the way
of a request through the server.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

import httpx
from serving import WITHOUT_WEIGHTS, free_port, put_table, serving

import rankrag
from rankrag.models import LanguageModel
from rankrag.models.fake import FakeLanguageModel

DOCUMENTS, WORDS = 20, 100


@dataclass
class Overhead:
    """Seconds of each round: in process, over HTTP, over HTTP beside the model. `processor` is the server's in all."""

    name: str
    in_process: list[float] = field(default_factory=list)
    over_http: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    processor: float = 0.0

    @property
    def row(self) -> list[str]:
        tenth = quantiles(self.beside, n=10)[0]
        figures = (median(self.in_process), median(self.over_http))
        return [
            self.name,
            *(f"{x:.3f}" for x in figures),
            f"{median(self.beside) * 1000:.1f}",
            f"{tenth * 1000:.1f}",
            self.each,
        ]

    @property
    def each(self) -> str:
        """The server's processor time for one request; with weights most of it is the model's."""
        return f"{self.processor / len(self.over_http) * 1000:.1f}"


def documents(rng: random.Random) -> list[str]:
    words = ["river", "bread", "bridge", "stone", "harbour", "flour", "castle", "winter", "copper", "garden"]
    return [" ".join(rng.choices(words, k=WORDS)) + "." for _ in range(DOCUMENTS)]


def judging(web: httpx.Client) -> float:
    """Return the seconds in which the server has judged so far."""
    found = re.search(r'^rankrag_step_seconds_sum\{step="rank"\} (\S+)', web.get("/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def processor_time(pid: int) -> float:
    """Return the seconds that a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(name: str, command: list[str], model: str | LanguageModel, port: int, rounds: int) -> Overhead:
    found, rng, reranker = Overhead(name), random.Random(0), rankrag.Reranker(model)
    url = f"http://127.0.0.1:{port}"
    with serving(command, port) as process, httpx.Client(base_url=url, timeout=None) as web:
        for number in range(rounds + 1):
            query, texts = f"Which river is the longest, asked {number} times?", documents(rng)
            before = time.perf_counter()
            reranker.rank(query, texts)
            middle, judged = time.perf_counter(), judging(web)
            after = time.perf_counter()
            web.post("/v1/rerank", json={"query": query, "documents": texts}).raise_for_status()
            end = time.perf_counter()
            if not number:  # the first round warms up
                used = processor_time(process.pid)
            else:
                found.in_process.append(middle - before)
                found.over_http.append(end - after)
                found.beside.append(end - after - (judging(web) - judged))
        found.processor = processor_time(process.pid) - used
    return found


def written(found: list[Overhead], rounds: int, load: float) -> str:
    """Write the table; return it."""
    header = [
        "model",
        "`Reranker.rank`, p50 s",
        "`POST /rerank`, p50 s",
        "beside it, p50 ms",
        "best tenth, ms",
        "CPU, ms",
    ]
    head = (
        f"{DOCUMENTS} documents of {WORDS} words, fresh in each of {rounds} rounds, one client on loopback, "
        f"{os.cpu_count()} cores; other work made a load of {load:.1f}. “Beside it” is the time less the model's. "
        "CPU is the server's for a request, and for two looks at its metrics."
    )
    return put_table("python benchmarks/serve_overhead.py", head, header, [one.row for one in found])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--model", default="rankrag-mini")
    given = parser.parse_args()
    load, found = os.getloadavg()[1], []
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        light = [sys.executable, str(WITHOUT_WEIGHTS), folder, str(port)]
        found.append(measured("without weights", light, FakeLanguageModel(), port, 10 * given.rounds))
        port = free_port()
        real = [sys.executable, "-m", "rankrag", "serve", f"{folder}/new.index", "--port", str(port)]
        real += ["--collections", f"{folder}/made", "--model", given.model]
        found.append(measured(given.model, real, given.model, port, given.rounds))
    print(written(found, given.rounds, load))


if __name__ == "__main__":
    main()
