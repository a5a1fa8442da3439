"""Compare first stages: `python -m experiments.first_stage DATA [--sets squad,nq] [--encoders --passages 500]`.

Without `--encoders`, BM25 over title and text against BM25 by field. With them, also all-MiniLM-L6-v2's vectors,
splade-tiny's learned sparse weights and the fusions. Every difference has its paired 95 % interval.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from experiments.first_stage.sets import SETS, Searched, load
from experiments.first_stage.stages import Scores, bm25, of_questions, rank_shares, recall, score_shares
from rankrag.evaluation.statistics import bootstrap_interval, paired_difference
from rankrag.retrieval.encoder import document_text
from rankrag.retrieval.fields import passage_terms
from rankrag.retrieval.lexical import analyse

DEPTHS = (1, 5, 20)
PLAIN, NOW = "BM25 without fields", "BM25 + MiniLM, by rank"
GAINS: dict[tuple[str, int], list[float]] = defaultdict(list)
"""Differences of each question by first stage and depth, over all sets so far."""


def main(
    data: Path,
    sets: str = ",".join(SETS),
    questions: int = 300,
    passages: Annotated[int, typer.Option(help="Passages a set at most, beside gold ones; 0 is all.")] = 0,
    encoders: Annotated[bool, typer.Option("--encoders", help="Encode passages too.")] = False,
    cache: Path = Path(".cache/first_stage"),
) -> None:
    """Print a table for each set."""
    for name in sets.split(","):
        searched = load(data, name, questions=questions, passages=passages)
        singles = _singles(searched, encoders, cache)
        stages = {one: _alone(searched, scores) for one, scores in singles.items()}
        _print(searched, stages | (_fused(searched, singles) if encoders else {}), NOW if encoders else PLAIN)
    _print_pooled()


def _singles(searched: Searched, encoders: bool, cache: Path) -> dict[str, Scores]:
    """Return the scores of each query by each single first stage."""
    asked = [query for queries in searched.queries for query in queries]
    plain = bm25(searched.passages, asked, lambda passage: analyse(document_text(passage)))
    found = {PLAIN: plain, "BM25": bm25(searched.passages, asked, passage_terms)}
    if encoders:
        from experiments.first_stage.encoders import minilm, splade

        found |= {"MiniLM": minilm(searched, cache), "splade": splade(searched, cache)}
    return found


def _alone(searched: Searched, scores: Scores) -> Scores:
    """Return a single first stage's order; several queries of a question are fused by rank, as `fusion.search` does."""
    several = any(len(queries) > 1 for queries in searched.queries)
    return of_questions([rank_shares(scores) if several else scores], searched.queries)


def _fused(searched: Searched, singles: Mapping[str, Scores]) -> dict[str, Scores]:
    """Return fusions by rank and by score, with equal weights."""
    return {
        f"{' + '.join(names)}, by {how}": of_questions([shares(singles[name]) for name in names], searched.queries)
        for how, shares in (("rank", rank_shares), ("score", score_shares))
        for names in (("BM25", "MiniLM"), ("BM25", "splade"), ("BM25", "MiniLM", "splade"))
    }


def _print(searched: Searched, rows: Mapping[str, Scores], beside: str) -> None:
    typer.echo(f"\n{searched.name}: {len(searched.queries)} questions, {len(searched.passages)} passages\n")
    typer.echo("| first stage | " + " | ".join(f"R@{k} | difference" for k in DEPTHS) + " |")
    typer.echo("|---" * (1 + 2 * len(DEPTHS)) + "|")
    for name, scores in rows.items():
        cells = []
        for k in DEPTHS:
            found, before = (recall(one, searched.gold, k) for one in (scores, rows[beside]))
            gain = paired_difference(found, before)
            cells += [f"{np.mean(found):.3f}", f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"]
            GAINS[name, k] += [a - b for a, b in zip(found, before, strict=True)]
        typer.echo(f"| {name} | " + " | ".join(cells) + " |")


def _print_pooled() -> None:
    """Print the differences over all questions of all sets."""
    typer.echo("\n| first stage, all questions | " + " | ".join(f"R@{k}" for k in DEPTHS) + " |")
    typer.echo("|---" * (1 + len(DEPTHS)) + "|")
    for name in dict.fromkeys(name for name, _ in GAINS):
        pooled = [bootstrap_interval(GAINS[name, k]) for k in DEPTHS]
        typer.echo(f"| {name} | " + " | ".join(f"{x.mean:+.3f} [{x.low:+.3f}, {x.high:+.3f}]" for x in pooled) + " |")


if __name__ == "__main__":
    typer.run(main)
