"""One round of retrieval, two, and two for open questions: `python -m experiments.first_stage.rounds DATA INDEXES`.

`INDEXES` is a folder for the index of each set; what it holds is used again. `--fit` prints what thresholds of
`is_open` cost and gain on training questions; without it the shipped ones are measured on dev.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from experiments.first_stage.sets import Searched, load
from rankrag.documents.parts import SourcePassages
from rankrag.evaluation.statistics import paired_difference
from rankrag.opening import open_retriever
from rankrag.retrieval import Retriever
from rankrag.retrieval.encoder import Encoder
from rankrag.retrieval.lexical import analyse
from rankrag.retrieval.rounds import is_linked, is_named, is_open, lacking, names_another, second_queries, starts, unite
from rankrag.retrieval.store import PassageStore
from rankrag.types import Ranking

N = 20
DEPTHS = (5, 20)
MULTI_HOP, SINGLE_HOP = ("hotpotqa", "2wiki"), ("squad", "nq")
SINGLE_HOP_MAY = 0.15
"""The share of questions with one gold passage for which a second round may begin."""


@dataclass(frozen=True, slots=True)
class Found:
    """One question after one round and after two: whether all gold passages are among the first, by depth.

    `words`, `lacks`, `named`, `linked` and `another` are what `is_open` looks at, and `open` what it says.
    """

    one: dict[int, float]
    two: dict[int, float]
    words: int
    lacks: int
    named: bool
    linked: bool
    another: bool
    open: bool

    def passes(self, long: int, if_led_on: int, if_named: int) -> bool:
        """Whether it would be open with other thresholds."""
        enough = if_named if self.named else if_led_on
        led_on = (self.another and self.lacks >= if_led_on) or (self.linked and self.lacks >= enough)
        return self.lacks > 0 and (led_on or self.words >= long)


def retriever_over(searched: Searched, folder: Path, kind: str) -> Retriever:
    """Return a retriever over a set's passages, whose index is made where it is missing."""
    store = PassageStore.create_or_open(folder)
    if not store.sources():
        store.put([SourcePassages("passages", searched.name, searched.passages)])
        store.refresh()
    if kind != "bm25":
        store.fill_vectors(Encoder())
    return open_retriever(folder, kind)  # type: ignore[arg-type]


def found_in(searched: Searched, retriever: Retriever) -> list[Found]:
    """Return every question of a set after one round and after two."""
    rows = []
    for (question, *_), gold in zip(searched.queries, searched.gold, strict=True):
        ids = frozenset(searched.passages[place].id for place in gold)
        (first,) = retriever.retrieve([question], N)
        again = {query: retriever.retrieve([query], N)[0] for query in second_queries(question, first)}
        lacks = lacking(question, first[0].passage) if first else 0
        named = bool(first) and is_named(question, first[0].passage)
        linked = bool(first) and is_linked(starts(question, first), again)
        another = bool(first) and names_another(question, first)
        both, opened = unite(question, first, again, N).ranking, is_open(question, first, again)
        before, after = all_gold(first, ids), all_gold(both, ids)
        words = len(set(analyse(question)))
        rows.append(Found(before, after, words, lacks, named=named, linked=linked, another=another, open=opened))
    return rows


def all_gold(ranking: Ranking, gold: frozenset[str]) -> dict[int, float]:
    """Return for each depth 1 if all gold passages are among the first so many, else 0."""
    return {k: float(gold <= {c.passage.id for c in ranking[:k]}) for k in DEPTHS}


def print_fit(found: dict[str, list[Found]]) -> None:
    """Print, for thresholds, each set's share of questions with a second round and its gain in all-gold@5.

    The best mean gain of the sets of several pages comes first; a single-hop set may search again for so many only.
    """
    print("| long | led on | named | " + " | ".join(found) + " | mean of both |\n" + "|---" * (4 + len(found)) + "|")
    lines = []
    for long, if_led_on, if_named in product(range(7, 13), range(1, 5), range(1, 5)):
        shares, gains = {}, {}
        for name, rows in found.items():
            passed = [row.passes(long, if_led_on, if_named) for row in rows]
            shares[name] = np.mean(passed)
            gains[name] = np.mean([(row.two[5] - row.one[5]) * again for row, again in zip(rows, passed, strict=True)])
        mean = float(np.mean([gains[name] for name in MULTI_HOP]))
        if all(shares[name] <= SINGLE_HOP_MAY for name in SINGLE_HOP):
            cells = " | ".join(f"{shares[name]:.3f}, {gains[name]:+.3f}" for name in found)
            lines.append((-mean, f"| {long} | {if_led_on} | {if_named} | {cells} | {mean:+.3f} |"))
    print("\n".join(line for _, line in sorted(lines)))


def print_sets(found: dict[str, list[Found]]) -> None:
    """Print for each set all-gold@k after one round, and the paired differences of "auto" and of two rounds."""
    heads = " | ".join(f"all-gold@{k} | auto | two rounds" for k in DEPTHS)
    print(f"| set | questions | second round | {heads} |\n" + "|---" * (3 + 3 * len(DEPTHS)) + "|")
    for name, rows in found.items():
        cells = []
        for k in DEPTHS:
            one = [row.one[k] for row in rows]
            auto = [row.two[k] if row.open else row.one[k] for row in rows]
            cells += [f"{np.mean(one):.3f}", difference(auto, one), difference([row.two[k] for row in rows], one)]
        print(f"| {name} | {len(rows)} | {np.mean([row.open for row in rows]):.3f} | " + " | ".join(cells) + " |")


def difference(after: Sequence[float], before: Sequence[float]) -> str:
    """Return the mean afterwards, and the paired difference with its interval."""
    gain = paired_difference(after, before)
    return f"{np.mean(after):.3f}, {gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"


def main() -> None:
    """Print the table of dev, or with `--fit` that of the thresholds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("indexes", type=Path)
    parser.add_argument("--retriever", default="bm25", choices=("bm25", "dense", "hybrid"))
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--sets", default=",".join((*MULTI_HOP, *SINGLE_HOP)))
    parser.add_argument("--fit", action="store_true")
    wanted = parser.parse_args()
    found = {}
    for name in wanted.sets.split(","):
        searched = load(wanted.data, name, split="train" if wanted.fit else "", questions=wanted.questions)
        found[name] = found_in(searched, retriever_over(searched, wanted.indexes / name, wanted.retriever))
    (print_fit if wanted.fit else print_sets)(found)


if __name__ == "__main__":
    main()
