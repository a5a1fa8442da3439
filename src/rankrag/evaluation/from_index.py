"""A benchmark's first stage found in an index that was built before, and kept as a frozen run (`frozen`).

A corpus of 21 million passages is indexed once, by `rankrag index`, and is never read into memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rankrag.contract import HistoryQuery
from rankrag.errors import ConfigError
from rankrag.evaluation.benchmarks import Benchmark
from rankrag.evaluation.first_stage import BATCH, Progress, quiet
from rankrag.evaluation.fourteen import PASSAGES
from rankrag.evaluation.frozen import freeze, frozen_files, origin_of
from rankrag.evaluation.loading import load
from rankrag.pipeline import search_queries
from rankrag.retrieval import Retriever
from rankrag.retrieval.fusion import search
from rankrag.types import Passage

NAMED = 5
"""Documents of an index that are named where it is not the benchmark's own corpus."""


def freeze_from_index(
    benchmark: Benchmark,
    data: Path,
    first_stage: Retriever,
    documents: Mapping[str, int],
    *,
    retriever: str,
    encoder: str | None,
    history: HistoryQuery = "last",
    k: int = 100,
    progress: Progress = quiet,
) -> Path:
    """Search an index for the questions of a benchmark; return the frozen run, in `runs/` of the data folder.

    Args:
        benchmark: its questions are in the data folder; its passages are those of the index.
        data: folder of the data sets.
        first_stage: searches the index.
        documents: passages by document of the index, which say whether it is the benchmark's corpus.
        retriever: its name.
        encoder: name of what made its vectors, if it uses any.
        history: by which turns conversations are searched.
        k: passages of a question, at most.
        progress: hears how many questions are searched.

    Raises:
        ConfigError: a run is there, or the questions bring their passages, or know gold ones by ids of another corpus.
    """
    if not benchmark.corpora or benchmark.needs_gold or benchmark.evidence:
        raise ConfigError(
            f"{benchmark.title}: its questions go with passages of its own; keep what is found of them with: "
            f"rankrag evaluate --set {benchmark.name} --no-model --retriever NAME --freeze FOLDER"
        )
    if found_run := frozen_files(benchmark.name, data):
        raise ConfigError(f"{found_run[0]}: a run of {benchmark.title} is there; delete it to freeze another")
    questions = load(benchmark, data, passages=False).questions
    searched = benchmark.searched_by(history)
    rankings: dict[str, list[str]] = {}
    passages: dict[str, Passage] = {}
    for start in range(0, len(questions), BATCH):
        batch = questions[start : start + BATCH]
        found = search(first_stage, [search_queries(of.question, searched) for of in batch], k)
        for of, ranking in zip(batch, found, strict=True):
            rankings[of.question.id] = [c.passage.id for c in ranking]
            passages.update((c.passage.id, c.passage) for c in ranking)
        progress(f"{benchmark.title}: searching", len(rankings), len(questions))
    corpus = corpus_of(benchmark, documents)
    origin = origin_of(retriever, encoder, searched, corpus, k, len(questions))
    return freeze(benchmark, questions, rankings, passages, data, origin)


def corpus_of(benchmark: Benchmark, documents: Mapping[str, int]) -> str:
    """Return the benchmark's corpus in words if the index is of its files and no others, else what the index holds.

    A file is known by its name, or by that of a folder above it, without endings; where it is known how many passages
    the corpus has, the index must hold as many, but for one in a hundred.
    """
    wanted, held = {_stem(name) for name in benchmark.corpora}, sum(documents.values())
    met = [wanted.intersection(map(_stem, Path(name).parts)) for name in documents]
    whole = PASSAGES.get(benchmark.corpus, held)
    if all(met) and set().union(*met) == wanted and abs(held - whole) <= whole / 100:
        return benchmark.corpus
    return f"{held:,} passages of {_listed(sorted(documents))}"


def _stem(name: str) -> str:
    return Path(name).name.partition(".")[0]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more documents" if more > 0 else "")
