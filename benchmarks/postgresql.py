"""An index in PostgreSQL beside one in a folder: the same results, and what they cost, in one run on one machine.

    python benchmarks/postgresql.py --data FOLDER            all steps, then docs/postgresql.json and docs/postgresql.md
    python benchmarks/postgresql.py --data FOLDER STEP …     some steps: `same`, `10000`, `all`, or `page`

It starts a server of its own (`tests/postgres_server.py`), which syncs to the disk as a real one does and has
PostgreSQL's default settings. `FOLDER` holds the data sets (docs/data.md). Vectors are all-MiniLM-L6-v2's for SQuAD,
and else synthetic (`scale.SyntheticEncoder`), for a CPU would make those of 80,000 passages in half an hour.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import corpus
import numpy as np
import numpy.typing as npt
import scale
from harness import put_figures

sys.path.insert(0, str(scale.ROOT))  # the server that the tests start

from rankrag.data.catalogue import BENCHMARKS
from rankrag.data.load import load_set
from rankrag.documents.parts import SourcePassages
from rankrag.pipeline import search_queries
from rankrag.retrieval import Retriever
from rankrag.retrieval.encoder import Encoder
from rankrag.retrieval.homes import Store, create_store
from rankrag.types import Passage, Ranking
from tests.postgres_server import PostgresServer

PAGE = scale.ROOT / "docs" / "postgresql.md"
DATA = PAGE.with_suffix(".json")
DEPTH = 100
QUESTIONS = 300
"""Questions of a set, at most."""
PASSAGES_A_DOCUMENT = 10
BATCH = 10_000

Figures = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("steps", nargs="*", choices=(*STEPS, "page"), default=[*STEPS, "page"], metavar="STEP")
    wanted = parser.parse_args()
    for step in wanted.steps:
        if step != "page":
            keep(measure(wanted.data, step))
    put_figures(PAGE, "benchmarks/postgresql.py", page(json.loads(DATA.read_text(encoding="utf-8"))))


STEPS = ("same", "10000", "all")


def keep(found: Figures) -> None:
    """Add figures to those of other steps."""
    known = json.loads(DATA.read_text(encoding="utf-8")) if DATA.exists() else {"same": {}, "sizes": {}}
    for part, own in found.items():
        known[part] = known[part] | own if isinstance(own, dict) else own
    DATA.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def measure(data: Path, step: str) -> Figures:
    server = PostgresServer(fsync="on")
    try:
        with TemporaryDirectory() as folder:
            found: Figures = {"machine": scale.machine(), "same": {}, "sizes": {}}
            for name in corpus.SETS if step == "same" else ():
                found["same"][name] = same(name, data, homes(server, Path(folder), name))
                print(name, json.dumps(found["same"][name]), flush=True)
            if step != "same":
                passages, queries = corpus.real_passages(data), corpus.questions(data)
                drawn = passages if step == "all" else scale.evenly(passages, int(step))
                found["sizes"][str(len(drawn))] = cost(drawn, queries, homes(server, Path(folder), "size"))
            return found
    finally:
        server.close()


def homes(server: PostgresServer, folder: Path, name: str) -> dict[str, Store]:
    """Return a new index in each home."""
    return {"folder": create_store(folder / name), "postgresql": create_store(server.address(name=name))}


def fill(store: Store, passages: Sequence[Passage]) -> None:
    """Put passages into an index as documents of ten, as a folder of articles would be."""
    left = iter(passages)
    documents = iter(lambda: tuple(islice(left, PASSAGES_A_DOCUMENT)), ())
    named = (SourcePassages(f"{number:06d}", "0", own) for number, own in enumerate(documents))
    while batch := list(islice(named, BATCH // PASSAGES_A_DOCUMENT)):
        store.put(batch)
    store.refresh()


def same(name: str, data: Path, both: dict[str, Store]) -> Figures:
    """Ask both homes every question of a set; for SQuAD, compare vectors with all inner products as well."""
    test_set = load_set(BENCHMARKS[name], data)
    passages = list(test_set.passages.values())
    asked = dict.fromkeys(search_queries(judged.question, "last")[0] for judged in test_set.questions)
    queries = scale.evenly(list(asked), QUESTIONS)
    for store in both.values():
        fill(store, passages)
    first, second = (store.lexical().retrieve(queries, DEPTH) for store in both.values())
    pairs = list(zip(first, second, strict=True))
    figures: Figures = {
        "passages": len(passages),
        "queries": len(queries),
        "same": sum(agree(*pair) for pair in pairs),
        "score_gap": max(scale.score_gap(*map(scores, pair)) for pair in pairs),
    }
    if name == "squad":
        encoder, postgres = Remembering(), both["postgresql"]
        postgres.fill_vectors(encoder)
        figures["recall"] = recall(postgres.dense(encoder), encoder, passages, queries)
    return figures


class Remembering(Encoder):
    """all-MiniLM-L6-v2, which encodes nothing twice."""

    _known: dict[str, npt.NDArray[np.float32]]

    def encode_passages(self, passages: Sequence[Passage]) -> npt.NDArray[np.float32]:
        known = self.__dict__.setdefault("_known", {})
        fresh = [passage for passage in passages if passage.id not in known]
        if fresh:
            known.update(zip([p.id for p in fresh], super().encode_passages(fresh), strict=True))
        return np.stack([known[passage.id] for passage in passages])


def scores(ranking: Ranking) -> list[float]:
    return [scored.score for scored in ranking]


def agree(first: Ranking, second: Ranking) -> bool:
    """Whether two rankings have the same passages at the same places, ties aside.

    Passages whose scores differ by less than 32-bit sums may differ count as tied, also at the cut.
    """
    if len(first) != len(second):
        return False
    if not first:
        return True
    close = 1e-5 * first[0].score
    by_id = {scored.passage.id: scored.score for scored in first}
    last = first[-1].score + close
    return all(
        abs(by_id[own.passage.id] - own.score) <= close if own.passage.id in by_id else own.score <= last
        for own in second
    ) and all(abs(a.score - b.score) <= close for a, b in zip(first, second, strict=True))


def cost(passages: Sequence[Passage], queries: Sequence[str], both: dict[str, Store]) -> Figures:
    """Build and ask the index in each home, the homes in turn at every step."""
    encoder = scale.SyntheticEncoder()
    steps: dict[str, Callable[[Store], Figures]] = {
        "build": lambda store: took(lambda: fill(store, passages)),
        "bm25": lambda store: timed(store.lexical(), queries),
        "vectors": lambda store: took(lambda: (store.fill_vectors(encoder, batch=BATCH), store.refresh())),
        "dense": lambda store: timed(store.dense(encoder), queries),
        "hybrid": lambda store: timed(store.hybrid(encoder), queries),
        "recall": lambda store: {"at_100": recall(store.dense(encoder), encoder, passages, queries[scale.WARM_UP :])},
        "change": lambda store: took(lambda: (store.put([changed(passages)]), store.refresh())),
    }
    found: Figures = {}
    for name, step in steps.items():
        found[name] = {home: step(store) for home, store in both.items()}
        print(len(passages), name, json.dumps(found[name]), flush=True)
    return found | {"mib": {home: mebibytes(store) for home, store in both.items()}}


def changed(passages: Sequence[Passage]) -> SourcePassages:
    return SourcePassages("000000", "1", tuple(passages[: PASSAGES_A_DOCUMENT - 1]))


def took(work: Callable[[], object]) -> Figures:
    start = time.perf_counter()
    work()
    return {"s": time.perf_counter() - start}


def timed(retriever: Retriever, queries: Sequence[str]) -> Figures:
    """Return the milliseconds of a query, one at a time; the first `scale.WARM_UP` are not counted."""
    times = []
    for query in queries:
        start = time.perf_counter()
        retriever.retrieve([query], DEPTH)
        times.append(1000 * (time.perf_counter() - start))
    found = sorted(times[scale.WARM_UP :])
    return {"p50_ms": statistics.median(found), "p99_ms": found[int(0.99 * len(found))]}


def recall(retriever: Retriever, encoder: Any, passages: Sequence[Passage], queries: Sequence[str]) -> float:
    """Return the share of the best hundred, of all inner products, that a retriever finds, ties aside."""
    vectors, asked = encoder.encode_passages(passages), encoder.encode_queries(queries)
    place = {passage.id: number for number, passage in enumerate(passages)}
    shares = []
    for query, ranking in zip(asked, (retriever.retrieve([query], DEPTH)[0] for query in queries), strict=True):
        products = vectors @ query
        last = np.partition(products, -DEPTH)[-DEPTH]
        shares.append(sum(products[place[scored.passage.id]] >= last - 1e-6 for scored in ranking) / DEPTH)
    return float(np.mean(shares))


def mebibytes(store: Any) -> float:
    if hasattr(store, "_path"):
        return scale.disk(store._path)
    query = """
        SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relnamespace = %s::regnamespace AND relkind = 'r'
    """
    schema = '"' + store._database.schema + '"'
    with store._connections.reading() as connection:
        return float(connection.execute(query, [schema]).fetchone()[0]) / 2**20


def page(found: Figures) -> Iterator[str]:
    yield f"Measured by `benchmarks/postgresql.py` on {found['machine']}, other work beside it; PostgreSQL's defaults."
    yield ""
    yield "| set | passages | questions | same first 100 | largest score difference |"
    yield "|---|---|---|---|---|"
    for name, own in found["same"].items():
        share = f"{own['same']:,} of {own['queries']:,}"
        counts = f"{own['passages']:,} | {own['queries']:,}"
        yield f"| {BENCHMARKS[name].title} | {counts} | {share} | {own['score_gap']:.1e} |"
    yield ""
    for name, own in found["same"].items():
        if "recall" in own:
            yield (
                f"{BENCHMARKS[name].title}, vectors of all-MiniLM-L6-v2: of the hundred nearest passages by exact "
                f"inner products, PostgreSQL finds {own['recall']:.4f}."
            )
            yield ""
    yield "| | " + " | ".join(f"{int(size):,} passages, {home}" for size in found["sizes"] for home in HOMES) + " |"
    yield "|---|" + "---|" * (len(found["sizes"]) * len(HOMES))
    for label, figure in ROWS.items():
        yield (
            f"| {label} | " + " | ".join(figure(own, home) for own in found["sizes"].values() for home in HOMES) + " |"
        )


HOMES = ("folder", "postgresql")
ROWS: dict[str, Callable[[Figures, str], str]] = {
    "build, s": lambda own, home: f"{own['build'][home]['s']:.1f}",
    "BM25, p50 / p99 ms": lambda own, home: latency(own["bm25"][home]),
    "add and index vectors (384 numbers, synthetic), s": lambda own, home: f"{own['vectors'][home]['s']:.1f}",
    "vectors, p50 / p99 ms": lambda own, home: latency(own["dense"][home]),
    "vectors, recall at 100": lambda own, home: f"{own['recall'][home]['at_100']:.3f}",
    "hybrid, p50 / p99 ms": lambda own, home: latency(own["hybrid"][home]),
    "replace one document, s": lambda own, home: f"{own['change'][home]['s']:.2f}",
    "disk, MiB": lambda own, home: f"{own['mib'][home]:.0f}",
}


def latency(own: Figures) -> str:
    return f"{own['p50_ms']:.1f} / {own['p99_ms']:.1f}"


if __name__ == "__main__":
    main()
