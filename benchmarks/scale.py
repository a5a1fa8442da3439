"""What building, searching and changing indices of 10,000, 100,000 and a million passages costs.

    python benchmarks/scale.py --data FOLDER            all steps, then docs/scale.md, docs/scale.svg
    python benchmarks/scale.py --data FOLDER STEP …     some steps, such as `build-10000 search-10000`, or `page`

Every step runs in its own process and writes its figures into docs/scale.json. `gather` makes the passages
(`debian_text.py`). `build` indexes them as `rankrag index --no-vectors` does. `search` queries the index, and `exact`
asks bm25s the same. `change` adds passages to a copy of the largest index and deletes one of its sources. `vectors`
fills a copy of an index with synthetic vectors, `dense` compares dense retrieval with all inner products, and `flat`
searches the same vectors with faiss.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import debian_text
import numpy as np
import numpy.typing as npt
from scale_page import write_page

ROOT = Path(__file__).parents[1]
DATA = ROOT / "docs" / "scale.json"
SIZES = (10_000, 100_000, 1_000_000)
HELD_OUT = "held-out.jsonl"
ADDED = 1_000
"""Passages that `change` adds."""

DIM = 384
CLUSTERS = 2_000
WARM_UP = 20
"""Queries before those that are timed, and not among them."""

Figures = dict[str, Any]


def main() -> None:
    """Run the requested steps, each in its own process."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("steps", nargs="*", metavar="STEP", help=f"of: {' '.join(STEPS)} page")
    parser.add_argument(
        "--data", type=Path, required=True, help="folder of packages, passages and indices, about 20 GB"
    )
    parser.add_argument("--here", action="store_true", help="run the step in this process")
    wanted = parser.parse_args()
    for step in wanted.steps or [*STEPS, "page"]:
        if step == "page":
            write_page(json.loads(DATA.read_text(encoding="utf-8")))
        elif wanted.here:
            figures = STEPS[step](wanted.data)
            found = json.loads(DATA.read_text(encoding="utf-8")) if DATA.exists() else {}
            found |= {"machine": machine(), "versions": {name: version(name) for name in ("lancedb", "bm25s", "numpy")}}
            found[step] = {**figures, "load": round(os.getloadavg()[0], 1)}
            DATA.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            print(step, json.dumps(found[step]), flush=True)
        else:
            subprocess.run([sys.executable, __file__, step, "--here", "--data", wanted.data], check=True)


def gather(data: Path) -> Figures:
    """Write the passages of each size, smaller ones drawn evenly from the largest, and some that are in no index."""
    debian_text.fetch(data / "packages")
    counts: Counter[str] = Counter()
    number = 0
    with ExitStack() as stack:
        files = {size: stack.enter_context(passages_of(data, size).open("w", encoding="utf-8")) for size in SIZES}
        held_out = stack.enter_context((data / HELD_OUT).open("w", encoding="utf-8"))
        for place, row in enumerate(debian_text.passages(data / "packages", counts)):
            line = json.dumps(row, ensure_ascii=False) + "\n"
            if place % 500 == 250:
                held_out.write(line)
                continue
            for size, file in files.items():
                if number % (SIZES[-1] // size) == 0:
                    file.write(line)
            number += 1
            if number == SIZES[-1]:
                break
    return {"passages": number, "packages": counts}


def build(data: Path, size: int) -> Figures:
    """Index the passages as `rankrag index --no-vectors` does."""
    import lancedb

    from rankrag.documents.indexing import bring_up_to_date
    from rankrag.retrieval import store as stores
    from rankrag.retrieval.snapshot import scan

    folder = index_of(data, size)
    shutil.rmtree(folder, ignore_errors=True)
    before = status("VmRSS")
    with measured() as figures:
        store = stores.PassageStore.create_or_open(folder)
        bring_up_to_date(store, [passages_of(data, size)])
    figures |= {"mib_before": before, "peak_mib": status("VmHWM"), "passages": len(store), "disk_mib": disk(folder)}
    with measured() as figures["scan"]:  # what each of the build's commits does to the passages that are there
        scan(lancedb.connect(folder).open_table("passages"), ["id", "source"])
    stores._OLD_STATES_KEPT = timedelta(microseconds=1)  # what the next `rankrag index` does an hour later
    store.refresh()
    return {**figures, "disk_later_mib": disk(folder), "text_mib": passages_of(data, size).stat().st_size >> 20}


def search(data: Path, size: int) -> Figures:
    """Query the index with the questions, one by one."""
    from rankrag.opening import open_retriever

    before = status("VmRSS")
    retriever = open_retriever(index_of(data, size), "bm25")
    rankings: list[dict[str, float]] = []

    def ask(query: str) -> None:
        (ranking,) = retriever.retrieve([query], 100)
        rankings.append({scored.passage.id: scored.score for scored in ranking})

    figures = {"mib_before": before, **asked(ask, data)}
    rankings_of(data, size).write_text(json.dumps(rankings[WARM_UP:]), encoding="utf-8")
    few = asked(lambda query: retriever.retrieve([query], 20), data)
    return {**figures, "of_20": {key: few[key] for key in ("median_ms", "p95_ms", "cpu_ms")}}


def exact(data: Path, size: int) -> Figures:
    """Ask bm25s the same over the terms of the index; its build time excludes making the terms.

    Its scores lack the constant factor k1 + 1, which the comparison restores.
    """
    import bm25s
    import lancedb

    from rankrag.retrieval.lexical import K1, B, analyse
    from rankrag.retrieval.snapshot import scan

    stored = scan(lancedb.connect(index_of(data, size)).open_table("passages"), ["id", "terms"])
    ids = stored["id"].to_pylist()
    known: dict[str, str] = {}
    terms = [[known.setdefault(term, term) for term in text.as_py().split()] for text in stored["terms"]]
    del stored
    before = status("VmRSS")
    index = bm25s.BM25(k1=K1, b=B, method="lucene")
    with measured() as figures:
        index.index(terms, show_progress=False)
    figures |= {"mib_before": before, "peak_mib": status("VmHWM"), "terms": sum(map(len, terms))}
    figures |= {"different_terms": len(known), "postings": len(index.scores["data"])}
    figures["index_mib"] = sum(part.nbytes for part in index.scores.values() if hasattr(part, "nbytes")) / 2**20
    del terms, known
    rankings: list[dict[str, float]] = []

    def ask(query: str) -> None:
        bag = list(dict.fromkeys(analyse(query)))
        places, scores = index.retrieve([bag], k=min(100, len(ids)), show_progress=False)
        found = zip(places[0], scores[0], strict=True)
        rankings.append({ids[place]: (K1 + 1) * float(score) for place, score in found if score > 0})

    figures |= {"search": asked(ask, data)}
    ours = json.loads(rankings_of(data, size).read_text(encoding="utf-8"))
    pairs = list(zip(ours, rankings[WARM_UP:], strict=True))
    for depth in (10, 100):
        shares = [overlap(list(a)[:depth], list(b)[:depth]) for a, b in pairs]
        figures[f"overlap_{depth}"] = statistics.mean(shares)
        figures[f"overlap_{depth}_least"] = min(shares)
    return {**figures, "score_gap": max(score_gap(list(a.values()), list(b.values())) for a, b in pairs)}


def change(data: Path) -> Figures:
    """Add passages to a copy of the largest index and delete one of its sources, as `rankrag index` does."""
    from rankrag.documents.indexing import bring_up_to_date
    from rankrag.documents.loading import PART_PASSAGES
    from rankrag.retrieval.store import PassageStore

    folder = copy_of(index_of(data, SIZES[-1]), data / "changed.index")
    rows = [json.loads(line) for line in (data / HELD_OUT).open(encoding="utf-8")][:ADDED]
    added = data / "added.jsonl"
    added.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    sources = [source.path for source in PassageStore.open(folder).sources()]
    gone = sources[len(sources) // 2]
    figures: Figures = {"before": len(PassageStore.open(folder)), "added": len(rows)}
    sentences = [query for row in rows[:200] if (query := sentence_of(row["text"]))]

    def finding(wanted: set[str], queries: Sequence[str]) -> int:
        """Return how many queries currently have one of these passages among their first 10."""
        rankings = PassageStore.open(folder).lexical().retrieve(queries, 10)
        return sum(any(scored.passage.id in wanted for scored in ranking) for ranking in rankings)

    new = {row["id"] for row in rows}
    figures["new_in_first_10_before"] = finding(new, sentences)
    with measured() as taken:
        bring_up_to_date(PassageStore.create_or_open(folder), [added])
    figures |= {"add": taken, "after_adding": len(PassageStore.open(folder)), "asked": len(sentences)}
    figures["new_in_first_10_after"] = finding(new, sentences)
    with passages_of(data, SIZES[-1]).open(encoding="utf-8") as lines:
        first = int(Path(gone).name) * PART_PASSAGES
        old = [json.loads(line) for line in islice(lines, first, first + PART_PASSAGES)]
    lost, asking = {row["id"] for row in old}, [s for row in old[::100] if (s := sentence_of(row["text"]))]
    figures["deleted_in_first_10_before"] = finding(lost, asking)
    with measured() as taken:
        store = PassageStore.open(folder)
        figures["deleted"] = store.remove(gone)
        store.refresh()
    figures |= {"delete": taken, "after_deleting": len(PassageStore.open(folder)), "asked_of_deleted": len(asking)}
    figures["deleted_in_first_10_after"] = finding(lost, asking)
    figures["peak_mib"] = status("VmHWM")
    retriever = PassageStore.open(folder).lexical()
    return {**figures, "search": asked(lambda query: retriever.retrieve([query], 100), data)}


def vectors(data: Path, size: int) -> Figures:
    """Fill a copy of the index with synthetic vectors, and refresh it."""
    from rankrag.retrieval.store import PassageStore

    folder = copy_of(index_of(data, size), dense_index_of(data, size))
    store = PassageStore.open(folder)
    bare = disk(folder)
    with measured() as filling:
        store.fill_vectors(SyntheticEncoder(), batch=10_000)
    with measured() as refreshing:
        store.refresh()
    return {"fill": filling, "refresh": refreshing, "peak_mib": status("VmHWM"), "disk_mib": disk(folder) - bare}


def dense(data: Path, size: int) -> Figures:
    """Search the vectors as `--retriever dense` does, then compare with all inner products."""
    import lancedb

    from rankrag.retrieval.store import PassageStore

    folder, encoder = dense_index_of(data, size), SyntheticEncoder()
    before = status("VmRSS")
    with measured() as opening:
        retriever = PassageStore.open(folder).dense(encoder)
    queries = [f"query {number}" for number in range(WARM_UP + 200)]
    rankings: list[list[str]] = []

    def ask(query: str) -> None:
        (ranking,) = retriever.retrieve([query], 100)
        rankings.append([encoder.key(scored.passage) for scored in ranking])

    figures = {"mib_before": before, "open": opening, **timed(ask, queries)}
    figures["peak_mib"] = status("VmHWM")
    wanted = encoder.encode_queries(queries[WARM_UP:])
    best = np.full((len(wanted), 100), -np.inf, np.float32)
    names = np.full((len(wanted), 100), "", dtype="U32")
    for batch in lancedb.connect(folder).open_table("vectors").search().select(["key", "vector"]).to_batches(50_000):
        matrix = batch["vector"].flatten().to_numpy().reshape(len(batch), -1)
        scores = np.hstack([best, wanted @ matrix.T])
        keys = np.asarray(batch["key"].to_pylist())
        order = np.argpartition(-scores, 100, axis=1)[:, :100]
        best = np.take_along_axis(scores, order, axis=1)
        names = np.where(order < 100, np.take_along_axis(names, order % 100, axis=1), keys[np.maximum(order - 100, 0)])
    shares = [len(set(a) & set(b)) / 100 for a, b in zip(rankings[WARM_UP:], names.tolist(), strict=True)]
    return {**figures, "recall_100": statistics.mean(shares), "recall_100_least": min(shares)}


def flat(_: Path, size: int) -> Figures:
    """Search the same number of synthetic vectors exactly with faiss, one thread; it needs no index of passages."""
    import faiss

    faiss.omp_set_num_threads(1)
    encoder, index = SyntheticEncoder(), faiss.IndexFlatIP(DIM)
    with measured() as making:
        for start in range(0, size, 10_000):
            keys = [hashlib.sha256(str(number).encode()).hexdigest()[:32] for number in range(start, start + 10_000)]
            index.add(encoder.of_keys(keys))
    queries = [f"query {number}" for number in range(WARM_UP + 200)]
    return {"make": making, **timed(lambda query: index.search(encoder.encode_queries([query]), 100), queries)}


STEPS: dict[str, Callable[[Path], Figures]] = {
    "gather": gather,
    **{f"{step.__name__}-{size}": partial(step, size=size) for size in SIZES for step in (build, search, exact)},
    "change": change,
    **{f"{step.__name__}-{size}": partial(step, size=size) for size in SIZES for step in (vectors, dense)},
    **{f"flat-{size}": partial(flat, size=size) for size in SIZES},
}


class SyntheticEncoder:
    """Takes the place of an encoder: random unit vectors in clusters.

    A vector is the normalised sum of its cluster's centre, a random direction, and a normal draw of expected length one
    whose variance falls as 1/i over the dimensions. Two members of a cluster therefore have a cosine of about 0.5. A
    digest of the text determines the cluster and the draw.
    """

    name, similarity = f"synthetic, {DIM} dimensions, {CLUSTERS} clusters", "cosine"

    def __init__(self) -> None:
        centres = np.random.default_rng(0).standard_normal((CLUSTERS, DIM), np.float32)
        self._centres = centres / np.linalg.norm(centres, axis=1, keepdims=True)
        falling = 1 / np.arange(1, DIM + 1)
        self._spread = np.sqrt(falling / falling.sum()).astype(np.float32)

    def key(self, passage: Any) -> str:
        """Return the name of a passage's vector in the index."""
        from rankrag.retrieval.dense import vector_key
        from rankrag.retrieval.encoder import document_text

        return vector_key(document_text(passage))

    def encode_passages(self, passages: Sequence[Any]) -> npt.NDArray[np.float32]:
        return self.of_keys([self.key(passage) for passage in passages])

    def encode_queries(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        from rankrag.retrieval.dense import vector_key

        return self.of_keys([vector_key(text) for text in texts])

    def of_keys(self, keys: Sequence[str]) -> npt.NDArray[np.float32]:
        draws = np.stack([np.random.default_rng(int(key, 16)).standard_normal(DIM, np.float32) for key in keys])
        found = self._centres[[int(key[:8], 16) % CLUSTERS for key in keys]] + draws * self._spread
        return found / np.linalg.norm(found, axis=1, keepdims=True)


@contextmanager
def measured() -> Iterator[Figures]:
    """Yield figures that have clock and CPU seconds when the block is done."""
    figures: Figures = {}
    wall, cpu = time.perf_counter(), time.process_time()
    yield figures
    figures |= {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}


def asked(ask: Callable[[str], object], data: Path) -> Figures:
    """Time the real queries."""
    return timed(ask, queries_of(data))


def timed(ask: Callable[[str], object], queries: Sequence[str]) -> Figures:
    """Ask one query after the other; of the first `WARM_UP`, only the very first is in the figures."""
    walls, cpus = [], []
    for query in queries:
        wall, cpu = time.perf_counter(), time.process_time()
        ask(query)
        walls.append(1000 * (time.perf_counter() - wall))
        cpus.append(1000 * (time.process_time() - cpu))
    first, walls, cpus = walls[0], walls[WARM_UP:], cpus[WARM_UP:]
    return {
        "queries": len(walls),
        "first_ms": first,
        "median_ms": statistics.median(walls),
        "p95_ms": float(np.quantile(walls, 0.95)),
        "p99_ms": float(np.quantile(walls, 0.99)),
        "cpu_ms": statistics.median(cpus),
        "cpu_p95_ms": float(np.quantile(cpus, 0.95)),
        "rss_mib": status("VmRSS"),
    }


def queries_of(data: Path) -> list[str]:
    """Return the queries: sentences of held-out passages to warm up, then the questions of the examples, 100 titles of
    held-out passages and 100 sentences of others."""
    rows = [json.loads(line) for line in (data / HELD_OUT).open(encoding="utf-8")]
    questions = [
        json.loads(line)["question"] for line in (ROOT / "examples" / "questions.jsonl").open(encoding="utf-8")
    ]
    titles = list(dict.fromkeys(row["title"] for row in rows[::2] if " " in row["title"]))
    sentences = [sentence for row in rows[1::2] if (sentence := sentence_of(row["text"]))]
    spread = [evenly(titles, 100), evenly(sentences, 100 + WARM_UP)]
    return [*spread[1][:WARM_UP], *questions, *spread[0], *spread[1][WARM_UP:]]


def evenly(texts: Sequence[str], count: int) -> list[str]:
    """Return that many texts, spread over all."""
    return [texts[place * len(texts) // count] for place in range(min(count, len(texts)))]


def sentence_of(text: str) -> str | None:
    """Return the first whole sentence of 6 to 25 words."""
    found = re.search(r"(?<=[.!?] )[A-Z](?:[\w,'-]+ ){5,24}[\w'-]+[.!?](?= )", text)
    return found[0] if found else None


def score_gap(ours: Sequence[float], others: Sequence[float]) -> float:
    """Return the largest difference of scores at the same rank, as a share of the best; 1 if one list is longer."""
    if len(ours) != len(others):
        return 1.0
    return max((abs(a - b) / others[0] for a, b in zip(ours, others, strict=True)), default=0.0)


def overlap(ours: Sequence[str], others: Sequence[str]) -> float:
    """Return the share of the longer ranking that both have; 1 for two empty ones."""
    longer = max(len(ours), len(others))
    return len(set(ours) & set(others)) / longer if longer else 1.0


def passages_of(data: Path, size: int) -> Path:
    return data / f"passages-{size}.jsonl"


def index_of(data: Path, size: int) -> Path:
    return data / f"{size}.index"


def dense_index_of(data: Path, size: int) -> Path:
    return data / f"{size}.dense.index"


def rankings_of(data: Path, size: int) -> Path:
    return data / f"rankings-{size}.json"


def copy_of(index: Path, folder: Path) -> Path:
    """Return a copy of an index; its immutable files are links."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(index, folder, copy_function=os.link, ignore=shutil.ignore_patterns("*.lock"))
    return folder


def disk(folder: Path) -> float:
    """Return the size of the files below a folder, in MiB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def status(name: str) -> float:
    """Return "VmRSS", the memory of this process, or "VmHWM", its peak, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name + ":")) / 1024


def machine() -> str:
    """Return processor and cores."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return f"{next(line.partition(': ')[2] for line in lines if line.startswith('model name'))}, {os.cpu_count()} cores"


if __name__ == "__main__":
    main()
