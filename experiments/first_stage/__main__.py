"""Compare first stages: `python -m experiments.first_stage DATA [--sets squad,nq] [--encoders --passages 500]`.

Without `--encoders`, BM25 over title and text against BM25 by field. With them, also all-MiniLM-L6-v2's vectors,
splade-tiny's learned sparse weights and the fusions. Every difference has its paired 95 % interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from experiments.first_stage.sets import SETS, Searched, load
from experiments.first_stage.stages import Scores, bm25, by_rank, by_score, of_questions, recall
from rankrag.evaluation.statistics import paired_difference
from rankrag.retrieval.encoder import document_text
from rankrag.retrieval.fields import passage_terms
from rankrag.retrieval.lexical import analyse

DEPTHS = (1, 5, 20)


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
        stages = singles | (_fused(singles, 0.5) if encoders else {})
        _print(searched, stages)


def _singles(searched: Searched, encoders: bool, cache: Path) -> dict[str, Scores]:
    """Return the scores of each query by each single first stage."""
    asked = [query for queries in searched.queries for query in queries]
    plain = bm25(searched.passages, asked, lambda passage: analyse(document_text(passage)))
    found = {"BM25, title and text": plain, "BM25 by field": bm25(searched.passages, asked, passage_terms)}
    if encoders:
        from experiments.first_stage.encoders import minilm, splade

        found |= {"MiniLM": minilm(searched, cache), "splade-tiny": splade(searched, cache)}
    return found


def _fused(singles: Mapping[str, Scores], share: float) -> dict[str, Scores]:
    fields, vectors, sparse = (singles[name] for name in ("BM25 by field", "MiniLM", "splade-tiny"))
    return {
        "BM25 + MiniLM, ranks": by_rank([fields, vectors]),
        "BM25 + splade, ranks": by_rank([fields, sparse]),
        "all three, ranks": by_rank([fields, vectors, sparse]),
        "BM25 + MiniLM, scores": by_score([fields, vectors], [share, 1 - share]),
        "BM25 + splade, scores": by_score([fields, sparse], [share, 1 - share]),
    }


def _print(searched: Searched, stages: Mapping[str, Scores]) -> None:
    rows = {name: of_questions(scores, searched.queries) for name, scores in stages.items()}
    first = next(iter(rows.values()))
    typer.echo(f"\n{searched.name}: {len(searched.queries)} questions, {len(searched.passages)} passages\n")
    typer.echo("| first stage | " + " | ".join(f"R@{k} | difference" for k in DEPTHS) + " |")
    typer.echo("|---" * (1 + 2 * len(DEPTHS)) + "|")
    for name, scores in rows.items():
        cells = []
        for k in DEPTHS:
            found, before = (recall(one, searched.gold, k) for one in (scores, first))
            gain = paired_difference(found, before)
            cells += [f"{np.mean(found):.3f}", f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]"]
        typer.echo(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    typer.run(main)
