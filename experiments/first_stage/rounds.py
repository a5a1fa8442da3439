"""A second round of BM25 without a language model: `python -m experiments.first_stage.rounds DATA`.

The second query has the words of the question that the first passage lacks, and either that passage's title or the
names in its text. Both rankings are united, by rank or a passage from each in turn. These are the baselines that a
query written by a model must beat.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from experiments.first_stage.sets import Searched, load
from experiments.first_stage.stages import Scores, bm25, rank_shares
from rankrag.evaluation.statistics import paired_difference
from rankrag.retrieval.fields import passage_terms
from rankrag.retrieval.lexical import analyse
from rankrag.types import Passage

DEPTHS = (5, 20)
SETS = (("hotpotqa", ""), ("2wiki", ""), ("2wiki", "train"), ("squad", ""), ("nq", ""))
_NAME = re.compile(r"(?<![.!?] )(?<!^)\b[A-Z]\w+(?: (?:of |the |de )?[A-Z]\w+)*")  # not the first word of a sentence


def title_and_missing(question: str, best: Passage) -> str:
    """Return the title of the best passage and the words of the question that it lacks."""
    return " ".join([best.title, *_missing(question, best)])


def names_and_missing(question: str, best: Passage) -> str:
    """Return the names in the best passage that the question does not have, and the words of the question it lacks."""
    asked = set(analyse(question))
    names = [name for name in _NAME.findall(best.text) if not set(analyse(name)) & asked]
    return " ".join([*dict.fromkeys(names), *_missing(question, best)])


def _missing(question: str, best: Passage) -> list[str]:
    known = set(passage_terms(best))
    return [word for word in question.split() if not set(analyse(word)) & known]


def orders(scores: Scores) -> list[list[int]]:
    """Return the places of each query's first hundred passages, best first."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :100]
    return [[i for i in row.tolist() if scores[q, i] > 0] for q, row in enumerate(best)]


def in_turn(first: Sequence[int], second: Sequence[int]) -> list[int]:
    """Return a passage of each ranking in turn, each passage once."""
    longest = max(len(first), len(second))
    return list(dict.fromkeys(one for i in range(longest) for ranking in (first, second) for one in ranking[i : i + 1]))


def all_gold(ranking: Sequence[int], gold: frozenset[int], k: int) -> float:
    """Return 1 if all gold passages are among the first `k`, else 0."""
    return float(gold <= set(ranking[:k]))


def compare(searched: Searched) -> dict[str, list[list[int]]]:
    """Return the rankings of all questions after one round, and after two, by second query and how they are united."""
    search = partial(bm25, searched.passages, terms=passage_terms)
    asked = [queries[0] for queries in searched.queries]
    one = search(asked)
    found = {"one": orders(one)}
    for query, write in (("title", title_and_missing), ("names", names_and_missing)):
        best = zip(asked, found["one"], strict=True)
        two = search([write(question, searched.passages[row[0]]) if row else question for question, row in best])
        found[f"two: {query}, by rank"] = orders(rank_shares(one) + rank_shares(two))
        found[f"two: {query}, in turn"] = [in_turn(*pair) for pair in zip(found["one"], orders(two), strict=True)]
    return found


def main() -> None:
    """Print all-gold@5 and @20, with paired differences from one round; two sets need one passage a question."""
    print("| set | questions | rounds | " + " | ".join(f"all-gold@{k} | difference" for k in DEPTHS) + " |")
    print("|---" * (3 + 2 * len(DEPTHS)) + "|")
    for name, split in SETS:
        searched = load(Path(sys.argv[1]), name, split=split, questions=1000)
        rankings = compare(searched)
        for rounds, found in rankings.items():
            cells = []
            for k in DEPTHS:
                values = [all_gold(row, gold, k) for row, gold in zip(found, searched.gold, strict=True)]
                before = [all_gold(r, gold, k) for r, gold in zip(rankings["one"], searched.gold, strict=True)]
                gain = paired_difference(values, before)
                cells += [f"{np.mean(values):.3f}", f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"]
            print(f"| {name} {split} | {len(found)} | {rounds} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
