"""First stages kept as frozen runs (`data.frozen`): of a set's own passages, or of an index that was built before.

A corpus of 21 million passages is indexed once, by `rankrag index`, and is never read into memory. Its search is kept
in a journal beside the run until it is complete.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from rankrag.contract import HistoryQuery
from rankrag.data.catalogue import CORPUS_SIZES
from rankrag.data.frozen import freeze, frozen_files, origin_of
from rankrag.data.journal import Journal
from rankrag.data.load import load_set
from rankrag.data.progress import Progress, quiet
from rankrag.data.sets import Benchmark
from rankrag.errors import ConfigError, DataError
from rankrag.evaluation.first_stage import BATCH, FirstStage
from rankrag.pipeline import search_queries
from rankrag.retrieval import Retriever
from rankrag.retrieval.fusion import DEPTH, search

if TYPE_CHECKING:
    from rankrag.documents.parts import IndexedSource
    from rankrag.retrieval.homes import Store

NAMED = 5
"""Documents of an index that are named if it is not the benchmark's own corpus."""


def freeze_first_stage(
    stage: FirstStage, into: Path, *, retriever: str, encoder: str | None, history: HistoryQuery
) -> Path:
    """Keep what a retriever finds for a set, with its passages, in `runs/` of the folder `into`; return the run.

    `encoder` is the name of what made the vectors.
    """
    test_set, benchmark = stage.test_set, stage.test_set.benchmark
    searched = benchmark.searched_by(history)
    found = stage.ids(retriever, searched)
    size = len(test_set.questions)
    origin = test_set.origin or origin_of(retriever, encoder, searched, benchmark.corpus, DEPTH, size)
    return freeze(benchmark, test_set.questions, found, test_set.passages, into, origin)


def freeze_from_index(
    benchmark: Benchmark,
    data: Path,
    store: Store,
    first_stage: Retriever,
    *,
    retriever: str,
    encoder: str | None,
    history: HistoryQuery = "last",
    k: int = 100,
    progress: Progress = quiet,
) -> Path:
    """Search an index for the questions of a benchmark; return the frozen run, in `runs/` of the data folder.

    After a kill, the same call goes on where it was, as long as index and settings are the same.

    Args:
        benchmark: its questions are in the data folder; its passages are those of the index.
        data: folder of the data sets.
        store: the index; its documents say whether it is the benchmark's corpus.
        first_stage: searches the index.
        retriever: its name; `encoder` names what made its vectors.
        history: by which turns conversations are searched.
        k: passages of a question, at most.
        progress: hears how many questions were searched.

    Raises:
        ConfigError: if a run is there, or if the questions bring their passages or name gold passages by other ids.
        DataError: if documents of the index were changed or removed meanwhile.
    """
    from rankrag.documents.parts import by_file

    _check(benchmark, data)
    questions = load_set(benchmark, data, passages=False).questions
    searched = benchmark.searched_by(history)
    sources = store.sources()
    corpus = corpus_of(benchmark, {file.path: file.passages for file in by_file(sources)})
    origin = origin_of(retriever, encoder, searched, corpus, k, len(questions))
    queries = {judged.question.id: search_queries(judged.question, searched) for judged in questions}
    settings = hashlib.sha256(repr((origin, encoder, sources, queries)).encode()).hexdigest()
    journal = data / "runs" / f"{benchmark.name}.journal.jsonl"
    rankings = Journal[str, list[str]](
        journal, lambda row: [(row["id"], row["ids"])] if row["settings"] == settings else [], is_row=_is_found
    )
    for start in range(0, len(questions), BATCH):
        names = list(islice(queries, start, start + BATCH))
        if not rankings.keys() >= set(names):  # a whole batch: vectors may depend on their neighbours
            found = search(first_stage, [queries[name] for name in names], k)
            ids = [[c.passage.id for c in ranking] for ranking in found]
            rankings.append({"id": i, "settings": settings, "ids": own} for i, own in zip(names, ids, strict=True))
        progress(f"{benchmark.title}: searching", min(start + BATCH, len(questions)), len(questions))
    passages = store.get({name for ids in rankings.values() for name in ids})
    if lost := _contents(sources) - _contents(store.sources()):
        raise DataError(
            f"{benchmark.title}: {len(lost)} documents of the index were changed or removed while it was searched, "
            f"such as {min(lost)[0]}; search it again"
        )
    run = freeze(benchmark, questions, rankings, passages, data, origin)
    journal.unlink(missing_ok=True)
    return run


def _check(benchmark: Benchmark, data: Path) -> None:
    """Raise `ConfigError` if a set's passages are its own, or if a run of it is there."""
    if not benchmark.corpora or benchmark.needs_gold or benchmark.evidence:
        raise ConfigError(
            f"{benchmark.title}: its questions have passages of their own; freeze what is found of them with: "
            f"rankrag evaluate --set {benchmark.name} --no-model --retriever NAME --freeze FOLDER"
        )
    if found_run := frozen_files(benchmark.name, data):
        raise ConfigError(f"{found_run[0]}: a run of {benchmark.title} is there; delete it to freeze another")


def _contents(sources: Sequence[IndexedSource]) -> set[tuple[str, str, int]]:
    return {(source.path, source.sha256, source.passages) for source in sources}


def _is_found(row: Mapping[str, object]) -> bool:
    return {"id", "settings", "ids"} <= row.keys()


def corpus_of(benchmark: Benchmark, documents: Mapping[str, int]) -> str:
    """Return the benchmark's corpus in words if the index is of its files and no others, else what the index holds.

    A file is known by its name, or by that of a folder above it, without endings. If the size of the corpus is known,
    the index must hold as many passages, within 1 %.
    """
    wanted, held = {_stem(name) for name in benchmark.corpora}, sum(documents.values())
    met = [wanted.intersection(map(_stem, Path(name).parts)) for name in documents]
    whole = CORPUS_SIZES.get(benchmark.corpus, held)
    if all(met) and set().union(*met) == wanted and abs(held - whole) <= whole / 100:
        return benchmark.corpus
    return f"{held:,} passages of {_listed(sorted(documents))}"


def _stem(name: str) -> str:
    return Path(name).name.partition(".")[0]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more documents" if more > 0 else "")
