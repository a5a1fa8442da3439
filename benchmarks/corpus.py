"""Passages in any number from the data sets (docs/data.md), and real questions about them.

The distinct passages of all corpora come first, 90,189 of them. Beyond that, each further one joins the first half of
one passage to the second half of another: its words, their frequencies and its length are real, its text is not.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import scale

from rankrag.data.catalogue import BENCHMARKS
from rankrag.data.load import load_set
from rankrag.data.rows import read_passages
from rankrag.pipeline import search_queries
from rankrag.types import Passage

SETS = ("squad", "hotpotqa", "2wiki", "doc2dial", "inscit", "trec_dl19")
QUESTIONS = 200


def real_passages(data: Path) -> list[Passage]:
    """Return the distinct passages of all corpora in the data folder, shuffled."""
    texts: dict[str, Passage] = {}
    for file in sorted(data.glob("*/*.corpus.jsonl.zst")):
        texts |= {f"{passage.title}\n{passage.text}": passage for passage in read_passages(file)}
    passages = [Passage(f"p{number}", p.text, title=p.title) for number, p in enumerate(texts.values())]
    random.Random(0).shuffle(passages)
    return passages


def questions(data: Path) -> list[str]:
    """Return questions of all sets, with `scale.WARM_UP` of them in front once more."""
    sets = [load_set(BENCHMARKS[name], data, passages=False).questions for name in SETS]
    asked = [[search_queries(judged.question, "last")[0] for judged in own] for own in sets]
    queries = [query for own in asked for query in scale.evenly(own, QUESTIONS // len(SETS))]
    return [*queries[: scale.WARM_UP], *queries]


def write_corpus(data: Path, size: int, file: Path) -> int:
    """Write that many passages as JSON Lines, a smaller file's first; return how many are real."""
    real = real_passages(data)
    with file.open("w", encoding="utf-8") as out:
        for passage in islice(_endless(real), size):
            row = {"id": passage.id, "title": passage.title, "text": passage.text}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    return min(size, len(real))


def _endless(real: list[Passage]) -> Iterator[Passage]:
    yield from real
    rng, number = random.Random(1), len(real)
    while True:
        first, second = (passage.text.split(" ") for passage in rng.sample(real, 2))
        joined = " ".join([*first[: len(first) // 2], *second[len(second) // 2 :]])
        yield Passage(f"p{number}", joined, title=rng.choice(real).title)
        number += 1
