"""What models say, asked once: judgements, replies, citations and cosines of a set, in journals that survive a kill.

A journal belongs to one set and one model (`model_key`). Its rows are named by question and passages, so systems that
differ in n, k, the encoder's share or the threshold share whatever they have in common. Rows carry the seconds that
the work took; a batch's time is shared evenly.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from rankrag.citations import cite
from rankrag.contract import HistoryQuery
from rankrag.data.files import Row
from rankrag.data.journal import Journal
from rankrag.data.progress import Progress, quiet
from rankrag.data.sets import Judged
from rankrag.errors import DataError, ModelError
from rankrag.evaluation.lines import Ids
from rankrag.generate import answer_many
from rankrag.models import LanguageModel, ModelInfo
from rankrag.pipeline import search_queries
from rankrag.rerank import Judgement, judge
from rankrag.retrieval.nearness import Nearness
from rankrag.templates import UNANSWERABLE
from rankrag.types import Passage, Question, ScoredPassage

QUESTIONS_AT_ONCE = 4
"""Questions that a CPU answers between two commits of a journal: what a kill can cost."""

PAIRS_AT_ONCE = 128
"""Pairs of question and passage that a CPU judges between two commits."""

COSINES_AT_ONCE = 1024
"""Pairs that are compared as vectors between two commits."""

Judgements = dict[str, dict[str, Judgement]]
"""By question id, then by passage id."""

JudgeFunction = Callable[[Sequence[tuple[Question, Passage]]], list[Judgement]]
"""Judges pairs, in their order: a language model, a cross-encoder, a bi-encoder."""

Wanted = Sequence[tuple[Judged, Ids]]
"""Questions, each with the ids of its passages."""

NOT_JUDGED = Judgement(-1e9, 0.0)
"""Stands for a pair that the model could not be asked about."""

_NEVER = (NOT_JUDGED, None)

_Asked = tuple[str, Ids]
"""A question's id and the ids of the passages that it is answered from."""

A = TypeVar("A")
B = TypeVar("B")
K = TypeVar("K")
V = TypeVar("V")
T = TypeVar("T")

_About = Sequence[tuple[Question, A]]
_Ask = Callable[[_About[A]], Sequence[B]]
"""Asks a model about questions, each with a passage or with several."""


@dataclass(frozen=True, slots=True)
class WorkPlace:
    """Where the work on one set is kept: its passages, a folder of journals, its title, and who hears of progress."""

    passages: Mapping[str, Passage]
    folder: Path
    title: str
    progress: Progress = quiet

    def below(self, name: str) -> WorkPlace:
        """Return the place of one model or ranker, a folder of its own."""
        return replace(self, folder=self.folder / name)

    def fill(
        self,
        journal: Journal[K, V],
        wanted: Mapping[K, T],
        make: Callable[[Mapping[K, T]], Iterable[Row]],
        what: str,
        at_once: int = 1,
        side_by_side: int = 1,
    ) -> None:
        """Make the rows that a journal lacks (`Journal.fill`); `what` says what is done."""
        text = f"{self.title}: {what}"
        journal.fill(wanted, make, at_once=at_once, side_by_side=side_by_side, progress=self.progress, text=text)


class JudgingWork:
    """The judgements of one set by one judge, in `judgements.jsonl` of a folder of their own."""

    def __init__(self, judging: JudgeFunction, place: WorkPlace, info: ModelInfo | None = None) -> None:
        """Read the journal; `info` says how large batches are and how many are judged side by side."""
        self._judging, self._place = judging, place
        info = info or ModelInfo()
        self._at_once, self._side_by_side = PAIRS_AT_ONCE * info.batch_multiplier, info.calls_at_once
        self._judged = Journal(place.folder / "judgements.jsonl", _judgements_of)
        self.failures: dict[str, str] = {}

    def judgements(self, wanted: Wanted) -> Judgements:
        """Return the judgements of these passages of each question; those not in the journal are asked for.

        They are asked for passage by passage, since a model can read a passage once for all its questions (`packing`).
        A question that cannot be asked (`DataError`) is in `failures` and its passages are `NOT_JUDGED`.
        """
        pairs = {(judged.question.id, i): judged.question for judged, ids in wanted for i in ids}
        by_passage = dict(sorted(pairs.items(), key=lambda pair: pair[0][1]))
        self._place.fill(self._judged, by_passage, self._ask, "judging", self._at_once, self._side_by_side)
        return {
            judged.question.id: {i: self._judged.get((judged.question.id, i), _NEVER)[0] for i in ids}
            for judged, ids in wanted
        }

    def seconds(self, question: str, ids: Ids) -> float | None:
        """Return the mean seconds that judging one of these passages took."""
        taken = [s for i in ids if (s := self._judged.get((question, i), _NEVER)[1]) is not None]
        return sum(taken) / len(taken) if taken else None

    def _ask(self, batch: Mapping[tuple[str, str], Question]) -> list[Row]:
        pairs = [(question, self._place.passages[i]) for (_, i), question in batch.items()]
        said, each = _timed(self._judging, pairs, self.failures)
        rows: dict[str, dict[str, list[float]]] = {}
        for (question, i), j in zip(batch, said, strict=True):
            if j is not None and math.isnan(j.log_odds):
                raise ModelError(
                    f"{self._place.title}: the score of passage {i!r} for question {question!r} is not a number; "
                    "earlier judgements are kept: check the model's weights and dtype, then run again"
                )
            if j is not None:
                rows.setdefault(question, {})[i] = [j.log_odds, j.probability]
        return [{"id": question, "judgements": row, "seconds": each} for question, row in rows.items()]


class ModelWork:
    """What one model said of one set: judgements (`judging`), replies and citations, in a folder of their own."""

    def __init__(self, model: LanguageModel, place: WorkPlace) -> None:
        """Read the journals."""
        self._model, self._place = model, place
        info = model.info
        self._at_once, self._side_by_side = QUESTIONS_AT_ONCE * info.batch_multiplier, info.calls_at_once
        self.judging = JudgingWork(partial(judge, model), place, info)
        self._replies = Journal(place.folder / "replies.jsonl", _reply_of)
        self.failures = self.judging.failures

    def replies(self, wanted: Wanted, *, closed_book: bool = False) -> list[str]:
        """Return the model's reply to each question from these passages.

        Without passages the reply is the refusal, unless `closed_book`: then the model is asked without any. A question
        that cannot be asked (`DataError`) is in `failures` and its reply is empty.
        """
        asked = {(judged.question.id, ids): judged.question for judged, ids in wanted if ids or closed_book}
        self._place.fill(self._replies, asked, self._ask, "answering", self._at_once, self._side_by_side)
        return [self._reply(judged.question.id, ids) if ids or closed_book else UNANSWERABLE for judged, ids in wanted]

    def seconds(self, question: str, ids: Ids) -> float | None:
        """Return the seconds that the reply from these passages took."""
        return self._replies.get((question, ids), ("", None))[1]

    def cited(
        self, wanted: Wanted, relevance: Mapping[str, Mapping[str, float]], ranked_by: str = ""
    ) -> list[tuple[int, ...]]:
        """Return, for each reply, the places (from 0) of the passages that its sentences cite.

        The replies must have been asked for. `relevance` is by question and passage (`citations.cite`); if it is not
        this model's, `ranked_by` says whose, and the journal is another one.
        """

        def cite_now(batch: Mapping[_Asked, Question]) -> list[Row]:
            rows = []
            for (question, ids), asked in batch.items():
                contexts = tuple(ScoredPassage(self._place.passages[i], -float(rank)) for rank, i in enumerate(ids))
                own = {i: p for i, p in relevance[question].items() if i in ids}
                citations = cite(self._model, asked, self._reply(question, ids), contexts, own)
                rows.append({"id": question, "passages": list(ids), "cited": [c.context for c in citations]})
            return rows

        name = "-".join(filter(None, ("citations", ranked_by)))
        journal = Journal(self._place.folder / f"{name}.jsonl", _places_of)
        answered = {(judged.question.id, ids): judged.question for judged, ids in wanted}
        self._place.fill(journal, answered, cite_now, "citing", side_by_side=self._side_by_side)
        return [journal[key] for key in answered]

    def _reply(self, question: str, ids: Ids) -> str:
        return self._replies.get((question, ids), ("", None))[0]

    def _ask(self, batch: Mapping[_Asked, Question]) -> list[Row]:
        questions = [(asked, [self._place.passages[i] for i in ids]) for (_, ids), asked in batch.items()]
        said, each = _timed(partial(answer_many, self._model), questions, self.failures)
        return [
            {"id": question, "passages": list(ids), "reply": reply, "seconds": each}
            for (question, ids), reply in zip(batch, said, strict=True)
            if reply is not None
        ]


class NearnessWork:
    """The cosines of one set by one encoder, in `nearness-HISTORY-ENCODER.jsonl` of the set's folder."""

    def __init__(self, nearness: Nearness, history: HistoryQuery, place: WorkPlace) -> None:
        """Read the journal; `history` says by which turns the set is searched."""
        self.nearness, self._history, self._place = nearness, history, place
        self._found = Journal(place.folder / f"nearness-{history}-{nearness.encoder.name}.jsonl", _cosines_of)

    def cosines(self, wanted: Wanted) -> dict[str, dict[str, float]]:
        """Return the cosine of each question and these passages, by question id, then by passage id."""
        pairs = {(judged.question.id, i): judged.question for judged, ids in wanted for i in ids}
        self._place.fill(self._found, pairs, self._compare, "comparing vectors", COSINES_AT_ONCE)
        return {judged.question.id: {i: self._found[judged.question.id, i] for i in ids} for judged, ids in wanted}

    def _compare(self, batch: Mapping[tuple[str, str], Question]) -> list[Row]:
        ids: dict[str, list[str]] = {}
        for question, i in batch:
            ids.setdefault(question, []).append(i)
        questions = {question.id: question for question in batch.values()}
        asked = [
            (search_queries(questions[name], self._history), [self._place.passages[i] for i in own])
            for name, own in ids.items()
        ]
        return [
            {"id": name, "cosines": {i: round(cosine, 6) for i, cosine in zip(own, row, strict=True)}}
            for (name, own), row in zip(ids.items(), self.nearness.cosines(asked), strict=True)
        ]


def with_cosines(judged: Mapping[str, Judgement], cosines: Mapping[str, float], weight: float) -> dict[str, Judgement]:
    """Return a question's judgements to which each passage's cosine adds `weight` times itself."""
    return {i: replace(j, added=weight * cosines[i]) for i, j in judged.items()} if weight else dict(judged)


def _timed(ask: _Ask[A, B], asked: _About[A], failures: dict[str, str]) -> tuple[list[B | None], float]:
    """Ask for all (`_one_by_one`); return what was said, and the seconds of each, the time shared evenly."""
    started = time.perf_counter()
    said = _one_by_one(ask, asked, failures)
    return said, round((time.perf_counter() - started) / len(asked), 6)


def _one_by_one(ask: _Ask[A, B], asked: _About[A], failures: dict[str, str]) -> list[B | None]:
    """Ask for all at once; where that raises `DataError`, halve until the questions that cannot be asked are found."""
    try:
        return list(ask(asked))
    except DataError as error:
        if len(asked) == 1:
            failures[asked[0][0].id] = str(error)
            return [None]
        middle = len(asked) // 2
        return [*_one_by_one(ask, asked[:middle], failures), *_one_by_one(ask, asked[middle:], failures)]


def _judgements_of(row: Row) -> Iterator[tuple[tuple[str, str], tuple[Judgement, float | None]]]:
    for i, (log_odds, probability) in row["judgements"].items():
        yield (row["id"], i), (Judgement(log_odds, probability), row.get("seconds"))


def _reply_of(row: Row) -> Iterator[tuple[_Asked, tuple[str, float | None]]]:
    yield (row["id"], tuple(row["passages"])), (row["reply"], row.get("seconds"))


def _places_of(row: Row) -> Iterator[tuple[_Asked, tuple[int, ...]]]:
    yield (row["id"], tuple(row["passages"])), tuple(row["cited"])


def _cosines_of(row: Row) -> Iterator[tuple[tuple[str, str], float]]:
    for i, cosine in row["cosines"].items():
        yield (row["id"], i), cosine
