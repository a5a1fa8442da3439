"""What the layers say, asked once: unit states and P(True) of pairs, in a journal that survives a kill."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from rankrag.contract import by_labels
from rankrag.data.journal import append_rows, read_journal
from rankrag.data.progress import Progress, quiet
from rankrag.data.sets import Judged
from rankrag.evaluation.first_stage import Ids
from rankrag.evaluation.work import PAIRS_AT_ONCE, Judgements
from rankrag.models import LayeredModel
from rankrag.rerank import Judgement
from rankrag.templates import ranking_prompt
from rankrag.types import Passage


class LayerStates:
    """One set's journal of one model. Rows hold states in 16 bit, [layers, hidden size], in base64."""

    def __init__(
        self,
        model: LayeredModel,
        layers: Sequence[int],
        passages: Mapping[str, Passage],
        folder: Path,
        title: str,
        progress: Progress = quiet,
    ) -> None:
        """Read what was done before; `progress` hears of what is done now under `title`."""
        self._model, self._layers, self._passages = model, tuple(layers), passages
        self._title, self._progress = title, progress
        named = "-".join(map(str, layers)) if len(layers) < 3 else f"{layers[0]}-to-{layers[-1]}"
        self._path = folder / f"states-{named}.jsonl"
        self._judged: Judgements = {}
        self._states: dict[tuple[str, str], np.ndarray] = {}
        for row in read_journal(self._path):
            packed = np.frombuffer(base64.b64decode(row["states"]), np.float16)
            self._take(row["id"], row["passage"], row["labels"], packed.reshape(len(layers), -1))

    def judgements(self, wanted: Sequence[tuple[Judged, Ids]]) -> Judgements:
        """Return the judgements by P(True) of these passages of each question; what is missing is asked for."""
        todo = [(i, of) for of, ids in wanted for i in dict.fromkeys(ids) if (of.question.id, i) not in self._states]
        todo.sort(key=lambda pair: pair[0])
        form = self._model.contract.format
        at_once = PAIRS_AT_ONCE * self._model.info.batch_multiplier
        for start in range(0, len(todo), at_once):
            batch = todo[start : start + at_once]
            prompts = [ranking_prompt(form, of.question, self._passages[i]) for i, of in batch]
            labels, states = self._model.layer_states(self._model.encode(prompts), self._layers)
            append_rows(
                self._path,
                [
                    {"id": of.question.id, "passage": i, "labels": row, "states": base64.b64encode(one).decode()}
                    for (i, of), row, one in zip(batch, labels, states, strict=True)
                ],
            )
            for (i, of), row, one in zip(batch, labels, states, strict=True):
                self._take(of.question.id, i, row, one)
            self._progress(f"{self._title}: reading layers", start + len(batch), len(todo))
        return {of.question.id: {i: self._judged[of.question.id][i] for i in ids} for of, ids in wanted}

    def states(self, question: str, ids: Ids) -> np.ndarray:
        """Return the states of passages that were judged before, [passages, layers, hidden size]."""
        return np.stack([self._states[question, i] for i in ids])

    def _take(self, question: str, passage: str, labels: Sequence[float], states: np.ndarray) -> None:
        true, false = labels
        judgement = Judgement(true - false, by_labels(self._model.contract).probability(true, false))
        self._judged.setdefault(question, {})[passage] = judgement
        self._states[question, passage] = states
