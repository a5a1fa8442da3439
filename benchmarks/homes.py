"""What an index costs in each of its homes: a folder, PostgreSQL, and a bucket with a snapshot of it on this disk.

    python benchmarks/homes.py --data FOLDER [--passages 10000]     docs/homes.json and docs/object-storage.md

Each home is built in one process and searched in another, so that memory is its own; for the bucket, the second has no
snapshot yet, as on another machine. Both servers are started here (`tests/`) and are not counted in the memory.
`FOLDER` holds the data sets (docs/data.md): real passages and questions. Vectors are synthetic
(`scale.SyntheticEncoder`).
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import scale
from harness import put_figures
from postgresql import BATCH, Figures, changed, everything, fill, latency, mebibytes, timed, took

from rankrag.retrieval.homes import Store, create_store, folder_beside, open_store
from rankrag.retrieval.s3.store import BucketStore
from rankrag.retrieval.s3.versions import read_head, read_version
from rankrag.types import Passage
from tests.postgres_server import PostgresServer
from tests.s3_server import BUCKET, S3Server

PAGE = scale.ROOT / "docs" / "object-storage.md"
DATA = scale.ROOT / "docs" / "homes.json"
HOMES = {"folder": "folder", "postgresql": "PostgreSQL", "s3": "bucket"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--step", nargs=2, metavar=("STEP", "PLACE"), help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.step:
        step, place = wanted.step
        print(json.dumps(STEPS[step](*pickle.loads(wanted.data.read_bytes()), place)))
        return
    found = {"machine": scale.machine(), "passages": wanted.passages} | measure(wanted.data, wanted.passages)
    DATA.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    put_figures(PAGE, "benchmarks/homes.py", list(page(found)))


def measure(data: Path, size: int) -> Figures:
    passages, queries = everything(data)
    database, bucket = PostgresServer(fsync="on"), S3Server()
    os.environ.update(bucket.environment())
    try:
        with TemporaryDirectory() as folder:
            prepared = Path(folder, "passages and queries")
            prepared.write_bytes(pickle.dumps((scale.evenly(passages, size), queries)))
            places = {
                "folder": f"{folder}/index",
                "postgresql": database.address(name="homes"),
                "s3": f"s3://{BUCKET}/homes",
            }
            found: Figures = {home: {} for home in places}
            for step in STEPS:
                for home, place in places.items():
                    os.environ["RANKRAG_CACHE"] = f"{folder}/{step}"
                    found[home] |= in_a_process(prepared, step, place)
                    print(home, step, json.dumps(found[home]), f"load {os.getloadavg()[0]:.0f}", flush=True)
            return {"homes": found, "bucket_mib": bucket_mib(bucket), "load": os.getloadavg()[2]}
    finally:
        database.close()
        bucket.close()


def in_a_process(prepared: Path, step: str, place: str) -> Figures:
    command = [sys.executable, __file__, "--data", prepared, "--step", step, place]
    found: Figures = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    return found


def build(passages: Sequence[Passage], _: Sequence[str], place: str) -> Figures:
    """Build the index, and add vectors."""
    encoder, before, store = scale.SyntheticEncoder(), scale.status("VmRSS"), create_store(place)
    building = took(lambda: fill(store, passages))
    adding = took(lambda: (store.fill_vectors(encoder, batch=BATCH), store.refresh()))
    memory = scale.status("VmHWM") - before
    return {"build": building, "vectors": adding, "build_mib": memory, "mib": size_of(store, place)}


def search(passages: Sequence[Passage], queries: Sequence[str], place: str) -> Figures:
    """Open the index and ask it; then let another machine replace a document, and move to that."""
    encoder, before = scale.SyntheticEncoder(), scale.status("VmRSS")
    for home in ("store", "postgres.store", "s3.store"):
        importlib.import_module(f"rankrag.retrieval.{home}")  # not a part of opening
    stores: list[Store] = []
    opening = took(lambda: stores.append(open_store(place)))
    (store,) = stores
    found = {
        "open": opening,
        "bm25": timed(store.lexical(), queries),
        "hybrid": timed(store.hybrid(encoder), queries),
        "search_mib": scale.status("VmHWM") - before,
    }
    here, seen = os.environ["RANKRAG_CACHE"], store.version()
    os.environ["RANKRAG_CACHE"] = here.replace("search", "build")
    writer = open_store(place)
    found["change"] = took(lambda: (writer.put([changed(passages)]), writer.refresh()))
    os.environ["RANKRAG_CACHE"] = here
    found["move"] = took(store.version)
    assert store.version() != seen
    return found | (sent(writer) if isinstance(writer, BucketStore) else {})


def sent(store: BucketStore) -> Figures:
    """Return the MiB of the files that the last two versions have and those before them have not."""
    bucket = store._replica.bucket
    refreshed, changed, before = (
        {file.key: file.size for file in read_version(bucket, name)} for name in read_head(bucket).names[:3]
    )
    return {"sent_mib": [new_mib(changed, before), new_mib(refreshed, changed)]}


def new_mib(files: dict[str, int], before: dict[str, int]) -> float:
    return sum(size for key, size in files.items() if key not in before) / 2**20


def size_of(store: Store, place: str) -> float:
    """Return the MiB of an index; of a bucket, those of its snapshot."""
    snapshot = folder_beside(place) if place.startswith("s3://") else None
    return scale.disk(snapshot / "versions" / str(store.version())) if snapshot else mebibytes(store)


def bucket_mib(server: S3Server) -> float:
    import obstore

    return sum(found["size"] for batch in obstore.list(server.store(), "homes") for found in batch) / 2**20


STEPS: dict[str, Callable[[Sequence[Passage], Sequence[str], str], Figures]] = {"build": build, "search": search}


def page(found: Figures) -> Iterator[str]:
    yield from textwrap.wrap(
        f"Measured by `benchmarks/homes.py` on {found['machine']}, other work beside it (load {found['load']:.0f}). "
        "Both servers ran there, too; their memory is not counted.",
        width=120,
    )
    yield ""
    yield f"| {found['passages']:,} passages | " + " | ".join(HOMES.values()) + " |"
    yield "|---|---|---|---|"
    for label, figure in ROWS.items():
        yield f"| {label} | " + " | ".join(figure(found["homes"][home]) for home in HOMES) + " |"
    yield ""
    put, refresh = found["homes"]["s3"]["sent_mib"]
    yield from textwrap.wrap(
        "Memory is what comes on top of Python and the libraries. A snapshot is a folder, so the columns of folder and "
        f"bucket differ by noise where both only search. To replace a document sent {put:.2f} MiB, and the refresh at "
        f"the end of the update {refresh:.1f} MiB: it merges small tables, which are then sent again. The bucket holds "
        f"{found['bucket_mib']:.0f} MiB, the last five versions.",
        width=120,
    )


ROWS: dict[str, Callable[[Figures], str]] = {
    "build, s": lambda own: f"{own['build']['s']:.1f}",
    "add vectors (384 numbers, synthetic), s": lambda own: f"{own['vectors']['s']:.1f}",
    "open on another machine (bucket: copy all), s": lambda own: f"{own['open']['s']:.2f}",
    "BM25, p50 / p99 ms": lambda own: latency(own["bm25"]),
    "hybrid, p50 / p99 ms": lambda own: latency(own["hybrid"]),
    "replace one document and refresh, s": lambda own: f"{own['change']['s']:.2f}",
    "see the change on another machine, s": lambda own: f"{own['move']['s']:.2f}",
    "memory to build, MiB": lambda own: f"{own['build_mib']:.0f}",
    "memory to search, MiB": lambda own: f"{own['search_mib']:.0f}",
    "disk, MiB": lambda own: f"{own['mib']:.0f}",
}


if __name__ == "__main__":
    main()
