"""What the model says, asked once: judgements, replies and citations of a set, in journals that survive a kill.

A journal belongs to one model (`model_key`). Its rows are named by question and passages, so other settings of the
pipeline (n, k, the share of the first stage, the threshold) use again whatever they have in common.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from rankrag.citations import cite
from rankrag.evaluation.benchmarks import Judged
from rankrag.evaluation.first_stage import Ids, Progress, quiet
from rankrag.generate import answer_many
from rankrag.journal import append_rows, read_journal
from rankrag.models import LanguageModel
from rankrag.rerank import Judgement, judge, with_first_stage
from rankrag.templates import UNANSWERABLE
from rankrag.types import Passage, ScoredPassage

QUESTIONS_AT_ONCE = 4
"""Questions answered between two commits of a journal: what a kill can cost."""

PAIRS_AT_ONCE = 128
"""Likewise, questions and passages judged."""

Judgements = dict[str, dict[str, Judgement]]
"""By question id, then by passage id."""


def model_key(model: LanguageModel, name: str) -> str:
    """Return a short digest of what the model's scores and replies depend on: its prompts and its weights.

    Values that are fitted afterwards (threshold, weight, history) change neither. Where `name` is a folder, its weights
    are told apart by what they hold, read at even distances; else by the name.
    """
    contract = replace(model.contract, abstain_below=None, first_stage_weight=0.0, history_query="last")
    folder = Path(name)
    weights = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    of = [[path.stat().st_size, _sampled_digest(path)] for path in weights] if folder.is_dir() else name
    return hashlib.sha256(json.dumps([asdict(contract), of], sort_keys=True).encode()).hexdigest()[:12]


def _sampled_digest(path: Path, places: int = 1024, block: int = 4096) -> str:
    """Return a digest of blocks at even distances of a file: training changes all, and gigabytes are not read."""
    digest = hashlib.sha256()
    step = max(block, path.stat().st_size // places)
    with path.open("rb") as file:
        while piece := file.read(block):
            digest.update(piece)
            file.seek(step - block, 1)
    return digest.hexdigest()


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
        self._judged: Judgements = {}
        for row in read_journal(folder / "judgements.jsonl"):
            self._take(row["id"], row["judgements"])
        self._replies = {(r["id"], tuple(r["passages"])): r["reply"] for r in read_journal(folder / "replies.jsonl")}
        self._cited = {
            (r["id"], tuple(r["passages"])): tuple(r["cited"]) for r in read_journal(folder / "citations.jsonl")
        }

    def judgements(self, wanted: Sequence[tuple[Judged, Ids]]) -> Judgements:
        """Return the judgements of these passages of each question; those not in the journal are asked for.

        They are asked for passage by passage, since the model reads a passage once for all its questions (`packing`).
        """
        todo = [(i, of) for of, ids in wanted for i in self._unjudged(of, ids)]
        todo.sort(key=lambda pair: pair[0])
        for start in range(0, len(todo), PAIRS_AT_ONCE):
            batch = todo[start : start + PAIRS_AT_ONCE]
            said = judge(self._model, [(of.question, self._passages[i]) for i, of in batch])
            rows: dict[str, dict[str, list[float]]] = {}
            for (i, of), j in zip(batch, said, strict=True):
                rows.setdefault(of.question.id, {})[i] = [j.log_odds, j.probability]
            append_rows(self._folder / "judgements.jsonl", [{"id": q, "judgements": of} for q, of in rows.items()])
            for question, found in rows.items():
                self._take(question, found)
            self._progress(f"{self._title}: judging", start + len(batch), len(todo))
        return {of.question.id: {i: self._judged[of.question.id][i] for i in ids} for of, ids in wanted}

    def replies(self, wanted: Sequence[tuple[Judged, Ids]]) -> list[str]:
        """Return the model's reply to each question from these passages; without passages it is the refusal."""
        names = [(of.question.id, ids) for of, ids in wanted]
        todo = {name: of for name, (of, _) in zip(names, wanted, strict=True) if name[1] and name not in self._replies}
        fresh = list(todo.items())
        for start in range(0, len(fresh), QUESTIONS_AT_ONCE):
            batch = fresh[start : start + QUESTIONS_AT_ONCE]
            said = answer_many(self._model, [(of.question, [self._passages[i] for i in ids]) for (_, ids), of in batch])
            rows = [
                {"id": name, "passages": list(ids), "reply": reply}
                for ((name, ids), _), reply in zip(batch, said, strict=True)
            ]
            append_rows(self._folder / "replies.jsonl", rows)
            self._replies |= {(row["id"], tuple(row["passages"])): row["reply"] for row in rows}
            self._progress(f"{self._title}: answering", start + len(batch), len(fresh))
        return [self._replies[name] if name[1] else UNANSWERABLE for name in names]

    def cited(self, wanted: Sequence[tuple[Judged, Ids]]) -> list[tuple[int, ...]]:
        """Return the places (from 0) of the passages that each reply cites, one for each cited sentence.

        The reply is the one from these passages, which must have been asked for and judged before.
        """
        found = []
        for done, (of, ids) in enumerate(wanted, start=1):
            name = (of.question.id, ids)
            if name not in self._cited:
                judged = self._judged[of.question.id]
                contexts = tuple(ScoredPassage(self._passages[i], judged[i].log_odds) for i in ids)
                relevance = {i: judged[i].probability for i in ids}
                citations = cite(self._model, of.question, self._replies[name], contexts, relevance)
                self._cited[name] = tuple(c.context for c in citations)
                row = {"id": of.question.id, "passages": list(ids), "cited": list(self._cited[name])}
                append_rows(self._folder / "citations.jsonl", [row])
                self._progress(f"{self._title}: citing", done, len(wanted))
            found.append(self._cited[name])
        return found

    def _unjudged(self, of: Judged, ids: Ids) -> list[str]:
        known = self._judged.get(of.question.id, {})
        return [i for i in dict.fromkeys(ids) if i not in known]

    def _take(self, question: str, found: Mapping[str, Sequence[float]]) -> None:
        fresh = {i: Judgement(log_odds, probability) for i, (log_odds, probability) in found.items()}
        self._judged[question] = self._judged.get(question, {}) | fresh


def reordered(ids: Ids, log_odds: Mapping[str, float], weight: float) -> Ids:
    """Return the first stage's ids in the pipeline's order: log-odds - weight * ln(rank), ties as they stood."""
    first = tuple(ScoredPassage(Passage(i, ""), log_odds[i]) for i in ids)
    return tuple(c.passage.id for c in with_first_stage(first, first, weight))
