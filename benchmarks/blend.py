"""How fast a blend is built, and how much memory a stream takes: `python benchmarks/blend.py`.

The source is made up: passages of about 90 random words, two questions per passage, all four kinds. BM25 mining
(indexing, searching, filtering false negatives) and the drawing and writing of examples are timed separately. With
`--stream-rows N` a file of N rows in MS MARCO's published form is made and read with a limit; its real size is 808,731.
"""

from __future__ import annotations

import argparse
import random
import resource
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

import zstandard

from rankrag.blend.kinds import source_groups
from rankrag.blend.mining import mine
from rankrag.blend.sources import QuestionSet, Record, read_source
from rankrag.blend.weights import Slot, drawn
from rankrag.config.blend import BlendConfig, SourceConfig
from rankrag.data.examples import write_examples
from rankrag.types import Passage, Question


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--passages", type=int, default=10_000)
    parser.add_argument("--questions", type=int, help="questions that are searched; by default two a passage")
    parser.add_argument("--examples", type=int, default=40_000)
    parser.add_argument("--stream-rows", type=int, default=0)
    parser.add_argument("--limit", type=int, default=21_000)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if wanted.stream_rows:
            measure_stream(Path(folder), wanted.stream_rows, wanted.limit)
        else:
            measure_building(Path(folder), wanted.passages, wanted.questions or 2 * wanted.passages, wanted.examples)


def measure_building(folder: Path, passages: int, questions: int, examples: int) -> None:
    config = BlendConfig.model_validate({"data": str(folder), "sources": [{"name": "made-up", "rows": "none"}]})
    (source_config,) = config.sources
    source = made_up(passages, questions)
    print(f"{len(source.records)} questions, {passages} passages made up; {peak()}", flush=True)
    started, cpu = time.perf_counter(), time.process_time()
    mined = mine(source, config.mining_depth)
    taken, used = time.perf_counter() - started, time.process_time() - cpu
    print(f"mining: in {taken:.1f} s ({used:.1f} s of one core); {peak()}", flush=True)
    started, cpu = time.perf_counter(), time.process_time()
    slots = [Slot(str(kind), "made-up", frozenset({kind}), examples // 4) for kind in source_config.kinds]
    groups = drawn(slots, partial(source_groups, config, source_config, source, mined), "0")
    written = write_examples(folder / "examples.jsonl.zst", (e for group in groups for e in group))
    taken, used = time.perf_counter() - started, time.process_time() - cpu
    print(f"after mining: {written} examples drawn and written in {taken:.1f} s ({used:.1f} s of one core)")
    print(f"{written / taken:.0f} examples/s by the clock, {written / used:.0f} a second of one core; {peak()}")


def measure_stream(folder: Path, rows: int, limit: int) -> None:
    rng = random.Random(0)
    texts = [" ".join(rng.choices(WORDS, k=60)) for _ in range(5000)]
    path = folder / "msmarco.jsonl.zst"
    with path.open("wb") as raw, zstandard.ZstdCompressor(level=1).stream_writer(raw) as sink:
        for number in range(rows):  # by hand: what is measured is the reading
            chosen = rng.randrange(10)
            selected = [int(i == chosen) for i in range(10)]
            passages = ",".join(f'"{number} {i} {text}"' for i, text in enumerate(rng.choices(texts, k=10)))
            query = " ".join(rng.choices(WORDS, k=6))
            row = (
                f'{{"query_id":{number},"query":"{query}","answers":["an answer"],'
                f'"passages":{{"is_selected":{selected},"passage_text":[{passages}],"url":["https://example.org"]}}}}\n'
            )
            sink.write(row.encode())
    print(f"{rows} rows made, {path.stat().st_size / 2**20:.0f} MiB compressed; {peak()}", flush=True)
    fields = {"name": "msmarco", "rows": path.name, "reader": "msmarco", "kinds": ["context_ranking"], "limit": limit}
    started, cpu = time.perf_counter(), time.process_time()
    source = read_source(SourceConfig.model_validate(fields), folder)
    taken, used = time.perf_counter() - started, time.process_time() - cpu
    print(f"read in {taken:.1f} s ({used:.1f} s of one core), {len(source.records)} rows kept; {peak()}")


WORDS = [f"{a}{b}" for a in ("ba", "ce", "di", "fo", "gu", "la", "me", "ni", "po", "ru") for b in range(2000)]


def made_up(passages: int, questions: int) -> QuestionSet:
    """Return passages of random words, some rarer than others, and up to two questions made of the words of each."""
    rng = random.Random(0)
    weights = [1 / (rank + 10) for rank in range(len(WORDS))]
    records, found = [], {}
    for number in range(passages):
        words = rng.choices(WORDS, weights, k=90)
        passage = Passage(f"made-up/d{number // 5}/{number}", " ".join(words), f"Title {number}")
        found[passage.id] = passage
        for place in (10, 50) if len(records) < questions else ():
            answer = " ".join(words[place : place + 3])
            question = Question(f"{number}/{place}", " ".join(rng.sample(words, 8)), answers=(answer,))
            records.append(Record(question, (passage.id,)))
    return QuestionSet("made-up", tuple(records), found, Counter())


def peak() -> str:
    return f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10:.0f} MiB"


if __name__ == "__main__":
    main()
