"""What the first stages find: passage ids of every question of a set, kept in journals beside an index.

Journals hold as many as are fused, so that fusing them gives what `fusion.search` gives. A set whose questions bring
their own candidates has these ordered; a ranking that comes with the questions (TREC DL's BM25 over all of MS MARCO, a
frozen run) then stands for BM25.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from rankrag.contract import HistoryQuery
from rankrag.data.journal import append_rows, read_journal
from rankrag.data.progress import Progress, quiet
from rankrag.data.sets import Benchmark, Judged, TestSet, folder_name
from rankrag.errors import MissingExtraError
from rankrag.pipeline import search_queries
from rankrag.retrieval import Retriever
from rankrag.retrieval.encoder import Encoder, document_text
from rankrag.retrieval.fusion import DEPTH, fuse
from rankrag.retrieval.fusion import search as search_all
from rankrag.types import Passage, Ranking, ScoredPassage

if TYPE_CHECKING:
    from rankrag.retrieval.store import PassageStore

RetrieverName = Literal["bm25", "dense", "hybrid"]
ALL_RETRIEVERS: tuple[RetrieverName, ...] = ("bm25", "dense", "hybrid")

VECTORS = ("dense", "hybrid")
"""Those that need an encoder."""

_FUSED: dict[RetrieverName, tuple[RetrieverName, ...]] = {
    "bm25": ("bm25",),
    "dense": ("dense",),
    "hybrid": ("bm25", "dense"),
}
"""The rankings that a search by both the last turn and all turns fuses."""

BATCH = 64
"""Questions between two lines of progress."""

Ids = tuple[str, ...]
FirstStages = dict[tuple[str, HistoryQuery], Mapping[str, Ids]]
"""Ids by question id, by retriever and by how conversations are searched."""

OpenStore = Callable[[], "PassageStore"]
"""Returns the index of a set's passages, made at the first call."""


def first_stages(
    test_set: TestSet,
    run: Path,
    *,
    retrievers: Sequence[RetrieverName] = ALL_RETRIEVERS,
    encoder: Encoder | None = None,
    history: HistoryQuery = "both",
    progress: Progress = quiet,
) -> FirstStages:
    """Return the rankings of BM25 and, with an encoder and where asked for, of dense and hybrid retrieval.

    Conversations are searched by the last turn, by all turns, by both, and by `history`. A ranking that comes with a
    set and cannot be made anew (`TestSet.fixed`) is what every retriever finds.
    """
    benchmark, histories = test_set.benchmark, _histories(test_set, history)
    if test_set.fixed:
        given = {of.question.id: of.given[:DEPTH] for of in test_set.questions}
        return {(name, of): given for name in ("bm25", *retrievers) for of in (*histories, "both", "last")}
    if not set(retrievers) & set(VECTORS):
        encoder = None
    corpus = run / "indexes" / _corpus_name(benchmark)
    open_store = cache(partial(open_index, test_set, corpus, encoder)) if test_set.searchable else None
    folder = run / folder_name(test_set)
    found: FirstStages = {}
    for turns in histories:
        found["bm25", turns] = lexical = bm25(test_set, open_store, folder, turns, progress)
        if encoder is not None:
            found["dense", turns] = near = dense(test_set, open_store, folder, turns, encoder, progress)
            if "hybrid" in retrievers:
                found["hybrid", turns] = fused(lexical, near)
    if len(histories) > 1:
        for name, parts in _FUSED.items():
            if (name, "last") in found:
                found[name, "both"] = fused(*(found[of, turns] for of in parts for turns in ("last", "all")))
    return found


def open_index(test_set: TestSet, folder: Path, encoder: Encoder | None = None) -> PassageStore:
    """Return the index of a set's passages in `folder`, made if it is missing or of other passages.

    An index holds one encoder's vectors: where they are not those of `encoder`, its own is FOLDER-ENCODER.
    """
    from rankrag.documents.parts import SourcePassages  # LanceDB, which full journals do without
    from rankrag.retrieval.store import PassageStore

    store = PassageStore.create_or_open(folder)
    if encoder is not None and store.encoder_name() not in (None, encoder.name):
        return open_index(test_set, folder.with_name(f"{folder.name}-{encoder.name}"), encoder)
    passages = tuple(test_set.passages.values())
    digest = hashlib.sha256()
    for passage in passages:
        digest.update(f"{passage.id}\0{document_text(passage)}\0".encode())
    if [(source.sha256, source.passages) for source in store.sources()] != [(digest.hexdigest(), len(passages))]:
        store.put([SourcePassages("passages", digest.hexdigest(), passages)])
        store.refresh()
    return store


def bm25(
    test_set: TestSet, open_store: OpenStore | None, folder: Path, history: HistoryQuery, progress: Progress = quiet
) -> dict[str, Ids]:
    """Return BM25's ids of every question, by the question's id; those already in the journal are not searched again.

    `open_store` is None where there is no corpus to search, and is not called where the journal holds all.
    """
    if test_set.ranked:
        return {of.question.id: of.given[:DEPTH] for of in test_set.questions}

    def open_search() -> _Search:
        return _searching(open_store().lexical(), history) if open_store else _own_by_bm25(test_set, history)

    return _journalled(test_set, folder / _journal("bm25", history, own=open_store is None), open_search, progress)


def dense(
    test_set: TestSet,
    open_store: OpenStore | None,
    folder: Path,
    history: HistoryQuery,
    encoder: Encoder,
    progress: Progress = quiet,
) -> dict[str, Ids]:
    """Return the ids that are nearest to every question, by its id; vectors that are missing are filled in first."""
    title = test_set.benchmark.title

    def open_search() -> _Search:
        if open_store is None:
            return _own_by_vector(test_set, encoder, history)
        store = open_store()
        store.fill_vectors(encoder, lambda _, done, total: progress(f"{title}: encoding passages", done, total))
        return _searching(store.dense(encoder), history)

    name = _journal("dense", history, encoder.name, own=open_store is None)
    return _journalled(test_set, folder / name, open_search, progress)


def fused(*rankings: Mapping[str, Ids]) -> dict[str, Ids]:
    """Return several rankings of every question fused by reciprocal rank, as `fusion.search` does."""
    return {
        name: tuple(c.passage.id for c in fuse([_by_id(of[name]) for of in rankings])[:DEPTH]) for name in rankings[0]
    }


def search_seconds(folder: Path, retriever: str, history: HistoryQuery, encoder: str | None) -> dict[str, float]:
    """Return the seconds that a first stage took by question id, a batch's time shared out evenly.

    `encoder` is the name of the one that made the vectors. Hybrid retrieval takes both. Questions that were searched
    before times were kept, or brought a ranking, are not there.
    """
    names: list[tuple[str, HistoryQuery, str | None]] = []
    for turns in ("last", "all") if history == "both" else (history,):
        names += [] if retriever == "dense" and encoder is not None else [("bm25", turns, None)]
        names += [] if retriever == "bm25" or encoder is None else [("dense", turns, encoder)]
    first, *others = (
        _seconds(folder / _journal(*name)) | _seconds(folder / _journal(*name, own=True)) for name in names
    )
    return {
        name: seconds + sum(of[name] for of in others)
        for name, seconds in first.items()
        if all(name in of for of in others)
    }


def _histories(test_set: TestSet, wanted: HistoryQuery) -> tuple[HistoryQuery, ...]:
    """Return the turns that a set is searched by; "both" is fused from these."""
    if test_set.benchmark.style != "conversation":
        return ("last",)
    return ("last", "all") if wanted == "both" else tuple(dict.fromkeys(("last", "all", wanted)))


def _corpus_name(benchmark: Benchmark) -> str:
    return "+".join(Path(name).name.partition(".")[0] for name in benchmark.corpora)


def _journal(retriever: str, history: HistoryQuery, encoder: str | None = None, *, own: bool = False) -> str:
    """Return the name of a journal. Own candidates were once ordered by the last turn alone, whatever its name said."""
    turns = f"own-{history}" if own and history != "last" else history
    return "-".join(filter(None, (retriever, turns, encoder))) + ".jsonl"


def _seconds(path: Path) -> dict[str, float]:
    return {row["id"]: row["seconds"] for row in read_journal(path) if "seconds" in row}


def _by_id(ids: Ids) -> Ranking:
    return tuple(ScoredPassage(Passage(name, ""), 0.0) for name in ids)


_Search = Callable[[Sequence[Judged]], Sequence[Sequence[str]]]


def _journalled(
    test_set: TestSet, path: Path, open_search: Callable[[], _Search], progress: Progress
) -> dict[str, Ids]:
    found = {row["id"]: tuple(row["ids"]) for row in read_journal(path)}
    todo = [of for of in test_set.questions if of.question.id not in found]
    search = open_search() if todo else None
    for batch in _batches(todo):
        assert search
        started = time.perf_counter()
        rankings = search(batch)
        each = round((time.perf_counter() - started) / len(batch), 6)
        fresh = {of.question.id: tuple(ids)[:DEPTH] for of, ids in zip(batch, rankings, strict=True)}
        append_rows(path, [{"id": name, "ids": list(ids), "seconds": each} for name, ids in fresh.items()])
        found |= fresh
        progress(f"{test_set.benchmark.title}: searching", len(found), len(test_set.questions))
    return {of.question.id: found[of.question.id] for of in test_set.questions}


def _batches(questions: Sequence[Judged]) -> Iterator[Sequence[Judged]]:
    for start in range(0, len(questions), BATCH):
        yield questions[start : start + BATCH]


def _searching(retriever: Retriever, history: HistoryQuery) -> _Search:
    def search(batch: Sequence[Judged]) -> list[list[str]]:
        rankings = search_all(retriever, [search_queries(of.question, history) for of in batch], DEPTH)
        return [[c.passage.id for c in ranking] for ranking in rankings]

    return search


def _own_by_bm25(test_set: TestSet, history: HistoryQuery) -> _Search:
    """Order each question's own candidates by BM25 whose statistics are of all candidates of the set."""
    try:
        import bm25s
    except ImportError:
        raise MissingExtraError('ordering candidates needs bm25s: pip install "rankrag[evaluation]"') from None
    from rankrag.retrieval.lexical import K1, B, analyse

    place = {name: i for i, name in enumerate(test_set.passages)}
    index = bm25s.BM25(k1=K1, b=B, method="lucene")
    index.index([analyse(document_text(p)) for p in test_set.passages.values()], show_progress=False)
    known = index.vocab_dict

    def search(batch: Sequence[Judged]) -> list[list[str]]:
        rankings = []
        for of in batch:
            (query,) = search_queries(of.question, history)
            terms = [term for term in dict.fromkeys(analyse(query)) if term in known]
            scores = index.get_scores(terms) if terms else np.zeros(len(place))
            rankings.append(sorted(of.given, key=lambda name: -float(scores[place[name]])))
        return rankings

    return search


def _own_by_vector(test_set: TestSet, encoder: Encoder, history: HistoryQuery) -> _Search:
    def search(batch: Sequence[Judged]) -> list[list[str]]:
        queries = encoder.encode_queries([query for of in batch for query in search_queries(of.question, history)])
        names = [name for of in batch for name in of.given]
        vectors = encoder.encode_passages([test_set.passages[name] for name in names])
        by_name = dict(zip(names, vectors, strict=True))
        return [
            sorted(of.given, key=lambda name: -float(by_name[name] @ query))
            for of, query in zip(batch, queries, strict=True)
        ]

    return search
