"""What an index costs in each of its homes: a folder, PostgreSQL, and a bucket with a snapshot of it on this disk.

    python benchmarks/homes.py --data FOLDER --work FOLDER [RUN …]

A run is one home at one size: folder-10000, postgresql-100000, s3-1000000, … It writes `docs/homes/RUN.json`, and one
whose file has all steps is passed over, so that a killed benchmark goes on with the next. The last step, `page`, puts
all of them into docs/scale.md. `--data` holds the data sets (docs/data.md), `--work` gets the passages (`corpus.py`)
and, until the end of a run, its index: about 10 GB for a million.

Every step has a process of its own. Searches are asked of a process that opened the index; for the bucket it has no
snapshot yet, as on another machine. Both servers are started here (`tests/`). Vectors are synthetic
(`scale.SyntheticEncoder`).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import corpus
import scale
from homes_page import DATA, write_page
from process_tree import Watched

sys.path.insert(0, str(scale.ROOT))  # the servers that the tests start

from rankrag.documents.indexing import bring_up_to_date
from rankrag.documents.parts import SourcePassages
from rankrag.retrieval.homes import Store, create_store, folder_beside, open_store
from rankrag.retrieval.postgres.store import PostgresStore
from rankrag.retrieval.s3.store import BucketStore
from rankrag.types import Passage
from tests.postgres_server import PostgresServer
from tests.s3_server import BUCKET, S3Server

DEPTH = 100
BATCH = 10_000

Figures = scale.Figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="*", default=[*RUNS, "page"], metavar="RUN", help=f"of: {' '.join(RUNS)} page")
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--work", type=Path, required=True, help="folder for passages and indices")
    parser.add_argument("--no-vectors", action="store_true", help="measure BM25 only")
    parser.add_argument("--step", nargs=2, metavar=("STEP", "PLACE"), help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.step:
        step, place = wanted.step
        print(json.dumps(STEPS[step](place, wanted.data, wanted.work) | {"peak_mib": scale.status("VmHWM")}))
        return
    for run in wanted.runs:
        if run == "page":
            write_page()
        else:
            steps = list(STEPS)[:2] if wanted.no_vectors else list(STEPS)
            if not steps_of(run).issuperset(steps):
                measure(run, wanted.data, wanted.work, steps)


def steps_of(run: str) -> set[str]:
    """Return the steps that a run has done."""
    file = DATA / f"{run}.json"
    return set(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else set()


def measure(run: str, data: Path, work: Path, steps: list[str]) -> None:
    """Do one run, and keep its figures step by step."""
    home, size = run.split("-")
    work.mkdir(parents=True, exist_ok=True)
    DATA.mkdir(exist_ok=True)
    passages = work / f"passages-{size}.jsonl"
    found: Figures = {"machine": scale.machine(), "home": home, "passages": int(size)}
    found["real"] = corpus.write_corpus(data, int(size), passages)
    index = work / run
    shutil.rmtree(index, ignore_errors=True)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, index, ignore_errors=True)
        place, server = stack.enter_context(PLACES[home](index))
        for step in steps:
            os.environ["RANKRAG_CACHE"] = str(index / ("writer" if step in ("build", "vectors") else f"reader-{step}"))
            print(run, step, "begins", flush=True)
            found[step] = in_a_process(step, place, data, passages, server)
            print(run, step, json.dumps(found[step]), flush=True)
            (DATA / f"{run}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def in_a_process(step: str, place: str, data: Path, passages: Path, server: int | None) -> Figures:
    """Do a step in a process; add its time, CPU and memory, and those of the server beside it."""
    command = [sys.executable, __file__, "--data", data, "--work", passages, "--step", step, place]
    with ExitStack() as stack:
        beside = stack.enter_context(Watched(server)) if server else None
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = process.stdout.read()
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise SystemExit(f"{step} failed")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found: Figures = json.loads(said) | {"process_s": wall, "process_cpu_s": cpu}
    found |= {"server_cpu_s": beside.cpu_s, "server_peak_mib": beside.peak_mib} if beside else {}
    return found | {"load": round(os.getloadavg()[0], 1)}


@contextmanager
def folder_home(folder: Path) -> Iterator[tuple[str, None]]:
    folder.mkdir()
    yield str(folder / "index"), None


@contextmanager
def database_home(_: Path) -> Iterator[tuple[str, int]]:
    server = PostgresServer(fsync="on")
    try:
        yield server.address(name="homes"), int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
    finally:
        server.close()


@contextmanager
def bucket_home(folder: Path) -> Iterator[tuple[str, int]]:
    folder.mkdir()
    server = S3Server()
    os.environ.update(server.environment())
    try:
        yield f"s3://{BUCKET}/homes", server._process.pid
    finally:
        server.close()


PLACES: dict[str, Callable[[Path], AbstractContextManager[tuple[str, int | None]]]] = {
    "folder": folder_home,
    "postgresql": database_home,
    "s3": bucket_home,
}
RUNS = [f"{home}-{size}" for size in scale.SIZES for home in PLACES]


def build(place: str, _: Path, passages: Path) -> Figures:
    """Do what `rankrag index --no-vectors passages.jsonl` does."""
    with scale.measured() as found:
        store = create_store(place)
        bring_up_to_date(store, [passages])
    assert len(store) == sum(1 for _ in passages.open("rb"))
    return found | {"mib": size_of(store, place), "text_mib": passages.stat().st_size / 2**20}


def bm25(place: str, data: Path, _: Path) -> Figures:
    """Open the index and ask it."""
    with scale.measured() as opening:
        retriever = open_store(place).lexical()
    return {"open": opening, **scale.timed(lambda query: retriever.retrieve([query], DEPTH), corpus.questions(data))}


def vectors(place: str, _: Path, __: Path) -> Figures:
    """Add vectors, and index them."""
    store = open_store(place)
    with scale.measured() as found:
        store.fill_vectors(scale.SyntheticEncoder(), batch=BATCH)
        store.refresh()
    return found | {"mib": size_of(store, place)}


def hybrid(place: str, data: Path, _: Path) -> Figures:
    """Open the index with its vectors and ask it."""
    with scale.measured() as opening:
        retriever = open_store(place).hybrid(scale.SyntheticEncoder())
    return {"open": opening, **scale.timed(lambda query: retriever.retrieve([query], DEPTH), corpus.questions(data))}


def change(place: str, _: Path, __: Path) -> Figures:
    """Add a document on this machine, and move to the change on another."""
    here = os.environ["RANKRAG_CACHE"]
    reader = open_store(place)
    seen = reader.version()
    os.environ["RANKRAG_CACHE"] = f"{here}-writer"
    writer = open_store(place)
    with scale.measured() as found:
        writer.put([SourcePassages("new", "1", (Passage("new", "a document that was not there"),))])
        writer.refresh()
    os.environ["RANKRAG_CACHE"] = here
    with scale.measured() as found["move"]:
        assert reader.version() != seen
    return found


STEPS: dict[str, Callable[[str, Path, Path], Figures]] = {
    step.__name__: step for step in (build, bm25, vectors, hybrid, change)
}


def size_of(store: Store, place: str) -> float:
    """Return the MiB of an index; of a bucket, those of its snapshot."""
    if isinstance(store, PostgresStore):
        query = "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relnamespace = %s::regnamespace"
        with store._connections.reading() as connection:
            row = connection.execute(f"{query} AND relkind = 'r'", [f'"{store._database.schema}"']).fetchone()
        return float(row[0]) / 2**20 if row else 0.0
    snapshot = folder_beside(place) if isinstance(store, BucketStore) else None
    return scale.disk(snapshot / "versions" / str(store.version()) if snapshot else Path(place))


if __name__ == "__main__":
    main()
