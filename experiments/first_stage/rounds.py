"""One round of retrieval, two, and two for open questions: `python -m experiments.first_stage.rounds DATA INDEXES`.

`INDEXES` is a folder for the index of each set; what it holds is used again. `--fit` prints what each pair of
thresholds of `is_open` costs and gains on training questions; without it the shipped ones are measured on dev.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.first_stage.sets import Searched, load
from rankrag.documents.parts import SourcePassages
from rankrag.evaluation.statistics import paired_difference
from rankrag.opening import open_retriever
from rankrag.retrieval import Retriever
from rankrag.retrieval.encoder import Encoder
from rankrag.retrieval.rounds import Retrieved, is_named, is_open, lacking, search_rounds
from rankrag.retrieval.store import PassageStore
from rankrag.types import Ranking

N = 20
DEPTHS = (5, 20)
MULTI_HOP, SINGLE_HOP = ("hotpotqa", "2wiki"), ("squad", "nq")
SINGLE_HOP_MAY = 0.15
"""The share of questions with one gold passage for which a second round may begin."""


@dataclass(frozen=True, slots=True)
class Found:
    """One question after one round and after two: whether all gold passages are among the first, by depth."""

    question: str
    first: Ranking
    one: dict[int, float]
    two: dict[int, float]

    @property
    def open(self) -> bool:
        """Whether "auto" begins a second round."""
        return bool(self.first) and is_open(self.question, self.first[0].passage)

    def passes(self, if_named: int, otherwise: int) -> bool:
        """Whether it would with other thresholds."""
        if not self.first:
            return False
        best = self.first[0].passage
        return lacking(self.question, best) >= (if_named if is_named(self.question, best) else otherwise)


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
    asked = [(queries[0], queries[:1]) for queries in searched.queries]
    first = [search_rounds(retriever, [one], N, 1)[0] for one in asked]
    both = [search_rounds(retriever, [one], N, 2)[0] for one in asked]
    rows = []
    for (question, _), before, after, gold in zip(asked, first, both, searched.gold, strict=True):
        ids = frozenset(searched.passages[place].id for place in gold)
        rows.append(Found(question, before.ranking, all_gold(before, ids), all_gold(after, ids)))
    return rows


def all_gold(retrieved: Retrieved, gold: frozenset[str]) -> dict[int, float]:
    """Return for each depth 1 if all gold passages are among the first so many, else 0."""
    ids = [c.passage.id for c in retrieved.ranking]
    return {k: float(gold <= set(ids[:k])) for k in DEPTHS}


def print_fit(found: dict[str, list[Found]]) -> None:
    """Print, for pairs of thresholds, the share of questions with a second round and the gain in all-gold@5."""
    print("| named | not named | pooled SQuAD, NQ | " + " | ".join(found) + " | mean of both |\n" + "|---" * 8 + "|")
    for if_named in range(1, 5):
        for otherwise in range(if_named, 9):
            shares, gains = [], {}
            for name, rows in found.items():
                passed = [row.passes(if_named, otherwise) for row in rows]
                gain = [row.two[5] - row.one[5] if again else 0.0 for row, again in zip(rows, passed, strict=True)]
                gains[name] = float(np.mean(gain))
                if name in SINGLE_HOP:
                    shares += passed
            mark = " **" if np.mean(shares) <= SINGLE_HOP_MAY else ""
            cells = " | ".join(f"{gains[name]:+.3f}" for name in found)
            both = np.mean([gains[name] for name in MULTI_HOP])
            print(f"| {if_named} | {otherwise} | {np.mean(shares):.3f}{mark} | {cells} | {both:+.3f} |")


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
