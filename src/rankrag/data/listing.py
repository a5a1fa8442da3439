"""Where the data of each benchmark comes from, and whether it is at hand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rankrag.data.load import missing
from rankrag.data.sets import Benchmark


def listing(benchmarks: Sequence[Benchmark], data: Path | None) -> Iterator[str]:
    """Yield the lines about each benchmark: name, what is missing of it, questions, passages, the paper's setting."""
    for of in benchmarks:
        absent = [] if data is None else [str(path.relative_to(data)) for path in missing(of, data)]
        state = "no data folder" if data is None else f"missing: {', '.join(absent)}" if absent else "at hand"
        yield f"{of.name}: {of.title}, {of.split} [{state}]"
        yield f"  questions: {_questions(of)}"
        places = f"; {of.corpus_source}; as {', '.join(of.corpora)}" if of.corpus_source else ""
        yield f"  passages:  {of.corpus or 'those of the questions'}{places}"
        if of.paper:
            paper = of.paper
            yield f"  the paper: {paper.size:,} questions, {paper.retriever}, N = {paper.n}, k = {paper.k}"


def _questions(of: Benchmark) -> str:
    places = [of.source] if of.source else []
    if of.hub:
        part = ", ".join(filter(None, (of.hub.subset or of.hub.files, of.hub.split)))
        places.insert(0, f"{of.hub.name} ({part}) at {(of.hub.revision or 'its newest revision')[:20]}")
    return "; or ".join(places) + ("" if of.source.startswith("a file of one's own") else f"; as {of.rows}")
