"""What retrieval finds: passage ids for every question of a set, kept in journals beside an index.

Journals hold as many ids as `fusion.search` fuses, so that fusing them gives what it gives. If a set's questions bring
their own candidates, these are ordered. If a set brings a ranking (TREC DL's BM25 over all of MS MARCO, a frozen run),
it is used for BM25; and if there is no corpus to search (`TestSet.fixed`), for every retriever.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rankrag.contract import HistoryQuery
from rankrag.data.files import Row
from rankrag.data.journal import Journal
from rankrag.data.progress import Progress, quiet
from rankrag.data.sets import Judged, TestSet, folder_name
from rankrag.evaluation.lines import Ids
from rankrag.evaluation.work import WorkPlace
from rankrag.pipeline import search_queries
from rankrag.retrieval import Retriever
from rankrag.retrieval.encoder import Encoder, document_text
from rankrag.retrieval.fields import passage_terms
from rankrag.retrieval.fusion import DEPTH, fuse, fuse_by_rank, search
from rankrag.retrieval.lexical import analyse, bm25_weights
from rankrag.retrieval.rounds import Rounds, after_rounds, second_queries
from rankrag.types import Passage, Question, Ranking, ScoredPassage

if TYPE_CHECKING:
    from rankrag.retrieval.store import PassageStore

BATCH = 64
"""Questions that are searched between two lines of progress."""

OpenEncoder = Callable[[str | None], Encoder]
"""Returns an encoder by name, all-MiniLM-L6-v2 for None."""

Rankings = Mapping[str, Ids]
"""Ids by question id, best first."""

Found = tuple[Ids, float | None]
"""The ids of one question, and the seconds that the search took; None if they came with the question."""

Scored = Sequence[tuple[str, float | None]]
"""Ids and scores, best first; no scores where the ranking was given or an earlier rankrag searched."""

Search = tuple[Scored, float | None]
"""What one search found for a question, and the seconds that it took."""

_Find = Callable[[Sequence[Judged]], Sequence[Scored]]


class FirstStage:
    """The rankings of one set; each is searched when it is first asked for."""

    def __init__(
        self, test_set: TestSet, run: Path, open_encoder: OpenEncoder = Encoder, progress: Progress = quiet
    ) -> None:
        """Search `test_set` with indexes and journals in the folder `run`."""
        self.test_set, self.folder = test_set, run / folder_name(test_set)
        self.place = WorkPlace(test_set.passages, self.folder, test_set.benchmark.title, progress)
        self._run, self._open_encoder = run, open_encoder
        self._found: dict[tuple[str, HistoryQuery, str | None], Mapping[str, Found]] = {}

    def found(self, retriever: str, history: HistoryQuery = "last", encoder: str | None = None) -> Mapping[str, Found]:
        """Return what a retriever finds for every question of the set, by its id.

        `history` says by which turns conversations are searched, `encoder` names what makes the vectors.
        """
        if self.test_set.fixed or (retriever == "bm25" and self.test_set.ranked):
            return {judged.question.id: (judged.given[:DEPTH], None) for judged in self.test_set.questions}
        history = self.test_set.benchmark.searched_by(history)
        key = (retriever, history, encoder if retriever != "bm25" else None)
        if key not in self._found:
            wanted = {judged.question.id: judged for judged in self.test_set.questions}
            searches = [(part, turns) for part in _parts(retriever) for turns in _turns(history)]
            self._found[key] = joined([self._searched(wanted, part, turns, encoder) for part, turns in searches])
        return self._found[key]

    def again(
        self, first: Mapping[str, Found], n: int, rounds: Rounds, retriever: str, encoder: str | None
    ) -> Mapping[str, Found]:
        """Return what one or two rounds find, from the first `n` ids that the first round found for some questions.

        There is no second round over given rankings or questions' own candidates: nothing can be searched for.
        """
        part = _parts(retriever)[0]  # the lexical one of a hybrid retriever, as in `search_rounds`
        given = self.test_set.ranked and part == "bm25"
        if rounds == 1 or given or not self.test_set.searchable:
            return first
        texts = {judged.question.id: judged.question.text for judged in self.test_set.questions}
        rankings = {name: _ranking([(i, 0.0) for i in ids], self.test_set.passages) for name, (ids, _) in first.items()}
        asked = {name: second_queries(texts[name], ranking, rounds) for name, ranking in rankings.items()}
        wanted = {query: Judged(Question(query, query), (), {}) for queries in asked.values() for query in queries}
        found = self._searched(wanted, part, "last", encoder, "again-")
        both = {}
        for name, (_, seconds) in first.items():
            again = {query: _ranking(found[query][0][:n], self.test_set.passages) for query in asked[name]}
            united = after_rounds(texts[name], rankings[name], again, n, rounds).ranking
            both[name] = (_ids(united), _total([seconds, *(found[query][1] for query in again)]))
        return both

    def ids(self, retriever: str, history: HistoryQuery = "last", encoder: str | None = None) -> Rankings:
        """Return the ids that a retriever finds for every question of the set (`found`)."""
        return {name: ids for name, (ids, _) in self.found(retriever, history, encoder).items()}

    def vectors_of(self, encoder: Encoder, passages: Sequence[Passage]) -> Mapping[str, npt.NDArray[np.float32]]:
        """Return the vectors that the index has of these passages by this encoder, by text (`Nearness`).

        A set without a corpus of its own has no index, and one that was only searched by BM25 no vectors.
        """
        from rankrag.retrieval.store import PassageStore

        folders = (_index_by(self._index, encoder), self._index) if self.test_set.searchable else ()
        found = next((folder for folder in folders if folder.is_dir()), None)
        return PassageStore.open(found).vectors_of(encoder, passages) if found else {}

    @property
    def _index(self) -> Path:
        corpora = (Path(name).name.partition(".")[0] for name in self.test_set.benchmark.corpora)
        return self._run / "indexes" / "+".join(corpora)

    def among_five(self, judged: Judged, others: int, history: HistoryQuery, seed: int) -> Ids:
        """Return the first gold passage among BM25's best others, in an order drawn with `seed` and the question."""
        found = self.ids("bm25", history)[judged.question.id]
        five = [judged.gold[0], *[i for i in found if i not in judged.gold][:others]]
        random.Random(f"{seed}/{judged.question.id}").shuffle(five)
        return tuple(five)

    def _searched(
        self,
        wanted: Mapping[str, Judged],
        retriever: str,
        history: HistoryQuery,
        encoder: str | None,
        prefix: str = "",
    ) -> dict[str, Search]:
        """Return what one search finds, searching for questions that its journal lacks."""
        if retriever == "bm25" and self.test_set.ranked:
            return {q.question.id: ([(one, None) for one in q.given[:DEPTH]], None) for q in self.test_set.questions}
        made_by = self._open_encoder(encoder).name if retriever == "dense" else None
        own = not self.test_set.searchable and history != "last"  # own candidates by the last turn need no mark
        name = "-".join(filter(None, (retriever, "own" if own else "", history, made_by)))
        journal = Journal(self.folder / f"{prefix}{name}.jsonl", _search_in_row)
        open_find = cache(partial(self._open, retriever, history, encoder))

        def search_now(batch: Mapping[str, Judged]) -> list[Row]:
            find, started = open_find(), time.perf_counter()
            rankings = find(list(batch.values()))
            each = round((time.perf_counter() - started) / len(batch), 6)
            return [
                {"id": name, "ids": [one for one, _ in found], "scores": [score for _, score in found], "seconds": each}
                for name, found in zip(batch, (ranking[:DEPTH] for ranking in rankings), strict=True)
            ]

        self.place.fill(journal, wanted, search_now, "searching", BATCH)
        return {name: journal[name] for name in wanted}

    def _open(self, retriever: str, history: HistoryQuery, encoder: str | None) -> _Find:
        """Return what searches the corpus or orders the questions' own candidates."""
        if not self.test_set.searchable:
            if retriever == "bm25":
                return _own_by_bm25(self.test_set, history)
            return _own_by_vector(self.test_set, self._open_encoder(encoder), history)
        if retriever == "bm25":
            return _searching(open_index(self.test_set, self._index).lexical(), history)
        made_by = self._open_encoder(encoder)
        store = open_index(self.test_set, self._index, made_by)
        title, progress = self.place.title, self.place.progress
        store.fill_vectors(made_by, lambda _, done, total: progress(f"{title}: encoding passages", done, total))
        return _searching(store.dense(made_by), history)


def open_index(test_set: TestSet, folder: Path, encoder: Encoder | None = None) -> PassageStore:
    """Return the index of a set's passages in `folder`; it is made again if it holds other passages.

    An index holds the vectors of one encoder: if they are not those of `encoder`, its index is FOLDER-ENCODER.
    """
    from rankrag.documents.parts import SourcePassages  # LanceDB is not needed while the journals hold everything
    from rankrag.retrieval.store import PassageStore

    store = PassageStore.create_or_open(folder)
    if encoder is not None and store.encoder_name() not in (None, encoder.name):
        return open_index(test_set, _index_by(folder, encoder), encoder)
    passages = tuple(test_set.passages.values())
    digest = hashlib.sha256()
    for passage in passages:
        digest.update(f"{passage.id}\0{document_text(passage)}\0".encode())
    if [(source.sha256, source.passages) for source in store.sources()] != [(digest.hexdigest(), len(passages))]:
        store.put([SourcePassages("passages", digest.hexdigest(), passages)])
        store.refresh()
    return store


def _index_by(folder: Path, encoder: Encoder) -> Path:
    return folder.with_name(f"{folder.name}-{encoder.name}")


def joined(searches: Sequence[Mapping[str, Search]]) -> dict[str, Found]:
    """Return several searches fused as `fusion.search` does, or by rank if scores are missing; times are added up."""
    scored = all(score is not None for search in searches for found, _ in search.values() for _, score in found)
    join = fuse if scored else fuse_by_rank
    together = {}
    for name in searches[0]:
        rankings = [_ranking(search[name][0]) for search in searches]
        best = join(rankings)[:DEPTH] if len(rankings) > 1 else rankings[0]
        together[name] = (_ids(best), _total([search[name][1] for search in searches]))
    return together


def _ids(ranking: Ranking) -> Ids:
    return tuple(c.passage.id for c in ranking)


def _total(times: Sequence[float | None]) -> float | None:
    """Return the sum; None if one is not known."""
    known = [seconds for seconds in times if seconds is not None]
    return sum(known) if len(known) == len(times) else None


def _search_in_row(row: Row) -> list[tuple[str, Search]]:
    scores = row.get("scores") or [None] * len(row["ids"])
    return [(row["id"], (list(zip(row["ids"], scores, strict=True)), row.get("seconds")))]


def _parts(retriever: str) -> tuple[str, ...]:
    return ("bm25", "dense") if retriever == "hybrid" else (retriever,)


def _turns(history: HistoryQuery) -> tuple[HistoryQuery, ...]:
    return ("last", "all") if history == "both" else (history,)


def _ranking(found: Scored, passages: Mapping[str, Passage] = {}) -> Ranking:
    return tuple(ScoredPassage(passages.get(name, Passage(name, "")), score or 0.0) for name, score in found)


def _searching(retriever: Retriever, history: HistoryQuery) -> _Find:
    def find(batch: Sequence[Judged]) -> list[Scored]:
        # One question at a time, as `ask` does: in a batch the last bits of a vector differ, and with them close ranks.
        rankings = [search(retriever, [search_queries(judged.question, history)], DEPTH)[0] for judged in batch]
        return [[(c.passage.id, c.score) for c in ranking] for ranking in rankings]

    return find


def _own_by_bm25(test_set: TestSet, history: HistoryQuery) -> _Find:
    """Order each question's own candidates by BM25, with the word statistics of all candidates of the set."""
    place = {name: i for i, name in enumerate(test_set.passages)}
    terms = [passage_terms(passage) for passage in test_set.passages.values()]
    lengths = np.array([len(own) for own in terms], np.uint32)
    counts: dict[str, dict[int, int]] = defaultdict(dict)
    for i, own in enumerate(terms):
        for term, count in Counter(own).items():
            counts[term][i] = count

    mean = lengths.mean()

    @cache
    def weights(term: str) -> tuple[list[int], npt.NDArray[np.float64]]:
        places, often = list(counts[term]), np.array(list(counts[term].values()), np.uint32)
        return places, bm25_weights(often, lengths[places], passages=len(terms), mean_length=mean)

    def scores(query: str) -> npt.NDArray[np.float32]:
        found = np.zeros(len(terms))
        for places, added in (weights(term) for term in dict.fromkeys(analyse(query)) if term in counts):
            found[places] += added
        return found.astype(np.float32)  # the order of the sum makes no difference between passages that should tie

    def find(batch: Sequence[Judged]) -> list[Scored]:
        by_question = [(judged, scores(*search_queries(judged.question, history))) for judged in batch]
        return [_best_first({name: float(own[place[name]]) for name in judged.given}) for judged, own in by_question]

    return find


def _own_by_vector(test_set: TestSet, encoder: Encoder, history: HistoryQuery) -> _Find:
    def find(batch: Sequence[Judged]) -> list[Scored]:
        queries = encoder.encode_queries([q for judged in batch for q in search_queries(judged.question, history)])
        names = [name for judged in batch for name in judged.given]
        vectors = encoder.encode_passages([test_set.passages[name] for name in names])
        by_name = dict(zip(names, vectors, strict=True))
        return [
            _best_first({name: float(by_name[name] @ query) for name in judged.given})
            for judged, query in zip(batch, queries, strict=True)
        ]

    return find


def _best_first(scores: Mapping[str, float]) -> Scored:
    return sorted(scores.items(), key=lambda found: -found[1])
