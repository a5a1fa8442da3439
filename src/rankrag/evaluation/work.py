"""What the model says, asked once: judgements, replies and citations of a set, in journals that survive a kill.

A journal belongs to one model (`model_key`). Its rows are named by question and passages, so other settings of the
pipeline (n, k, the encoder's share, the threshold) use again whatever they have in common. Rows carry the
seconds that the work took, a batch's time shared out evenly.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from rankrag.citations import cite
from rankrag.data.journal import append_rows, read_journal
from rankrag.data.progress import Progress, quiet
from rankrag.data.sets import Judged
from rankrag.errors import DataError, ModelError
from rankrag.evaluation.first_stage import Ids
from rankrag.generate import answer_many
from rankrag.models import LanguageModel
from rankrag.rerank import Judgement, judge
from rankrag.templates import UNANSWERABLE
from rankrag.types import Passage, Question, ScoredPassage

QUESTIONS_AT_ONCE = 4
"""Questions that a CPU answers between two commits of a journal: what a kill can cost."""

PAIRS_AT_ONCE = 128
"""Likewise, questions and passages judged."""

Judgements = dict[str, dict[str, Judgement]]
"""By question id, then by passage id."""

JudgeFunction = Callable[[Sequence[tuple[Question, Passage]]], list[Judgement]]
"""Judges pairs, in their order: a language model, a cross-encoder, a bi-encoder."""

NOT_JUDGED = Judgement(-1e9, 0.0)
"""Stands for a pair that could not be put to the model."""


FITTED = {"abstain_below", "similarity_weight", "settled_from", "similarity_encoder", "history_query", "k"}
"""Fields of a contract that are fitted after training and change no prompt."""


def model_key(model: LanguageModel, name: str) -> str:
    """Return a short digest of what the model's replies and P(True) depend on: its prompts and its weights.

    Values that are fitted afterwards (`FITTED`) change neither. Where `name` is a folder, its weights are told apart by
    what they hold, read at even distances; else by the name.
    """
    prompts = {name: value for name, value in asdict(model.contract).items() if name not in FITTED}
    folder = Path(name)
    weights = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    of = [[path.stat().st_size, _sampled_digest(path)] for path in weights] if folder.is_dir() else name
    also = ["int8"] if model.info.int8 else []  # other number types move scores little, and share a journal
    return hashlib.sha256(json.dumps([prompts, of, *also], sort_keys=True).encode()).hexdigest()[:12]


def _sampled_digest(path: Path, places: int = 1024, block: int = 4096) -> str:
    """Return a digest of blocks at even distances of a file: training changes all, and gigabytes are not read."""
    digest = hashlib.sha256()
    step = max(block, path.stat().st_size // places)
    with path.open("rb") as file:
        while piece := file.read(block):
            digest.update(piece)
            file.seek(step - block, 1)
    return digest.hexdigest()


class JudgingWork:
    """The judgements of one set by one judge, in `judgements.jsonl` of a folder of their own.

    `times` as many pairs are judged together as a CPU does (`ModelInfo.batch_multiplier`).
    """

    def __init__(
        self,
        judging: JudgeFunction,
        passages: Mapping[str, Passage],
        folder: Path,
        title: str,
        progress: Progress = quiet,
        *,
        times: int = 1,
    ) -> None:
        """Read what was done before; `progress` hears of what is done now under `title`."""
        self._judging, self._passages, self._path = judging, passages, folder / "judgements.jsonl"
        self._title, self._progress, self._at_once = title, progress, PAIRS_AT_ONCE * times
        self._judged: Judgements = {}
        self._seconds: dict[str, list[float]] = {}
        self.failures: dict[str, str] = {}
        for row in read_journal(self._path):
            self._take(row["id"], row["judgements"], row.get("seconds"))

    def judgements(self, wanted: Sequence[tuple[Judged, Ids]]) -> Judgements:
        """Return the judgements of these passages of each question; those not in the journal are asked for.

        They are asked for passage by passage, since the model reads a passage once for all its questions (`packing`).
        A question that cannot be asked (`DataError`) is in `failures` and its passages are `NOT_JUDGED`; `ModelError`
        names a score that is not a number.
        """
        todo = [(i, of) for of, ids in wanted for i in self._unjudged(of, ids)]
        todo.sort(key=lambda pair: pair[0])
        for start in range(0, len(todo), self._at_once):
            batch = todo[start : start + self._at_once]
            started = time.perf_counter()
            said = self._ask([(of.question, self._passages[i]) for i, of in batch])
            each = round((time.perf_counter() - started) / len(batch), 6)
            rows: dict[str, dict[str, list[float]]] = {}
            for (i, of), j in zip(batch, said, strict=True):
                if j is not NOT_JUDGED:
                    rows.setdefault(of.question.id, {})[i] = [j.log_odds, j.probability]
            append_rows(self._path, [{"id": q, "judgements": of, "seconds": each} for q, of in rows.items()])
            for question, found in rows.items():
                self._take(question, found, each)
            self._progress(f"{self._title}: judging", start + len(batch), len(todo))
        return {
            of.question.id: {i: self._judged.get(of.question.id, {}).get(i, NOT_JUDGED) for i in ids}
            for of, ids in wanted
        }

    def known(self, question: str) -> Mapping[str, Judgement]:
        """Return all judgements of a question so far, by passage id."""
        return self._judged[question]

    def seconds(self, question: str) -> float | None:
        """Return the mean seconds that judging one passage of a question took; None where they were not taken."""
        taken = self._seconds.get(question)
        return sum(taken) / len(taken) if taken else None

    def _ask(self, pairs: Sequence[tuple[Question, Passage]]) -> list[Judgement]:
        try:
            said = self._judging(pairs)
        except DataError as error:
            if len(pairs) > 1:
                middle = len(pairs) // 2
                return self._ask(pairs[:middle]) + self._ask(pairs[middle:])
            self.failures[pairs[0][0].id] = str(error)
            return [NOT_JUDGED]
        for (question, passage), j in zip(pairs, said, strict=True):
            if math.isnan(j.log_odds):
                raise ModelError(
                    f"{self._title}: the score of passage {passage.id!r} for question {question.id!r} is not a number; "
                    "what was judged before is kept: check the model's weights and dtype, then run again"
                )
        return said

    def _unjudged(self, of: Judged, ids: Ids) -> list[str]:
        known = self._judged.get(of.question.id, {})
        return [i for i in dict.fromkeys(ids) if i not in known]

    def _take(self, question: str, found: Mapping[str, Sequence[float]], seconds: float | None) -> None:
        fresh = {i: Judgement(log_odds, probability) for i, (log_odds, probability) in found.items()}
        self._judged[question] = self._judged.get(question, {}) | fresh
        if seconds is not None:
            self._seconds.setdefault(question, []).extend([seconds] * len(found))


class ModelWork:
    """One set's journals of one model, in a folder of their own."""

    def __init__(
        self,
        model: LanguageModel,
        passages: Mapping[str, Passage],
        folder: Path,
        title: str,
        progress: Progress = quiet,
    ) -> None:
        """Read what was done before; `progress` hears of what is done now under `title`."""
        self._model, self._passages, self._folder = model, passages, folder
        self._title, self._progress = title, progress
        times = model.info.batch_multiplier
        self._at_once = QUESTIONS_AT_ONCE * times
        self.judging = JudgingWork(partial(judge, model), passages, folder, title, progress, times=times)
        self._citations = folder / "citations.jsonl"
        self.failures: dict[str, str] = {}
        rows = read_journal(folder / "replies.jsonl")
        self._replies = {(r["id"], tuple(r["passages"])): r["reply"] for r in rows}
        self._seconds = {(r["id"], tuple(r["passages"])): r.get("seconds") for r in rows}
        self._cited = {(r["id"], tuple(r["passages"])): tuple(r["cited"]) for r in read_journal(self._citations)}

    def judgements(self, wanted: Sequence[tuple[Judged, Ids]]) -> Judgements:
        """Return the judgements of these passages of each question, see `JudgingWork`."""
        return self.judging.judgements(wanted)

    def replies(self, wanted: Sequence[tuple[Judged, Ids]], *, closed_book: bool = False) -> list[str]:
        """Return the model's reply to each question from these passages.

        Without passages it is the refusal, unless `closed_book`: then the model is asked without any. A question that
        cannot be asked (`DataError`) is in `failures` and its reply is empty.
        """
        names = [(of.question.id, ids) for of, ids in wanted]
        asked = [(name, of) for name, (of, _) in zip(names, wanted, strict=True) if name[1] or closed_book]
        fresh = list({name: of for name, of in asked if name not in self._replies}.items())
        for start in range(0, len(fresh), self._at_once):
            batch = fresh[start : start + self._at_once]
            started = time.perf_counter()
            said = self._ask([(of.question, [self._passages[i] for i in ids]) for (_, ids), of in batch])
            each = round((time.perf_counter() - started) / len(batch), 6)
            answered = [(name, reply) for (name, _), reply in zip(batch, said, strict=True) if reply is not None]
            rows = [
                {"id": name, "passages": list(ids), "reply": reply, "seconds": each} for (name, ids), reply in answered
            ]
            append_rows(self._folder / "replies.jsonl", rows)
            self._replies |= dict(answered)
            self._seconds |= {name: each for name, _ in answered}
            self._progress(f"{self._title}: answering", start + len(batch), len(fresh))
        return [self._replies.get(name, "") if name[1] or closed_book else UNANSWERABLE for name in names]

    def seconds(self, question: str, ids: Ids) -> float | None:
        """Return the seconds that the reply from these passages took; None where they were not taken."""
        return self._seconds.get((question, ids))

    def _ask(self, questions: Sequence[tuple[Question, Sequence[Passage]]]) -> list[str | None]:
        try:
            return list(answer_many(self._model, questions))
        except DataError as error:
            if len(questions) > 1:
                middle = len(questions) // 2
                return self._ask(questions[:middle]) + self._ask(questions[middle:])
            self.failures[questions[0][0].id] = str(error)
            return [None]

    def cited(self, wanted: Sequence[tuple[Judged, Ids]]) -> list[tuple[int, ...]]:
        """Return the places (from 0) of the passages that each reply cites, one for each cited sentence.

        The reply is the one from these passages, which must have been asked for and judged before.
        """
        found = []
        for done, (of, ids) in enumerate(wanted, start=1):
            name = (of.question.id, ids)
            if name not in self._cited:
                judged = self.judging.known(of.question.id)
                contexts = tuple(ScoredPassage(self._passages[i], judged[i].log_odds) for i in ids)
                relevance = {i: judged[i].probability for i in ids}
                citations = cite(self._model, of.question, self._replies[name], contexts, relevance)
                self._cited[name] = tuple(c.context for c in citations)
                row = {"id": of.question.id, "passages": list(ids), "cited": list(self._cited[name])}
                append_rows(self._citations, [row])
                self._progress(f"{self._title}: citing", done, len(wanted))
            found.append(self._cited[name])
        return found


def with_cosines(judged: Mapping[str, Judgement], cosines: Mapping[str, float], weight: float) -> dict[str, Judgement]:
    """Return a question's judgements to which each passage's cosine adds `weight` times itself."""
    return {i: replace(j, added=weight * cosines[i]) for i, j in judged.items()} if weight else dict(judged)


def reordered(ids: Ids, scores: Mapping[str, float]) -> Ids:
    """Return ids by falling score, ties as they stood."""
    return tuple(sorted(ids, key=lambda i: -scores[i]))


def finals(judged: Mapping[str, Judgement]) -> dict[str, float]:
    """Return what the pipeline orders a question's passages by."""
    return {i: j.final for i, j in judged.items()}


def log_odds(judged: Mapping[str, Judgement]) -> dict[str, float]:
    """Return what the model alone, and the paper, orders a question's passages by."""
    return {i: j.log_odds for i, j in judged.items()}
