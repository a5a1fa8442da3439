"""Running an ablation: its rows are systems of one evaluation, whose models are made when they are first opened.

The folder of a study holds::

    blends/DIGEST/       blends that rows are parts of, each built once
    models/ROW-DIGEST/   the part of a row, its training run, and its losses on instructions; rows share stage I
    questions/           a run of `rankrag evaluate` with the rows as systems
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from experiments.ablation.exam import instructions_of, question_sets, reply_losses
from experiments.ablation.models import folder_of, made
from experiments.ablation.study import Row, Study
from rankrag.data.files import write_whole
from rankrag.data.progress import Progress, quiet
from rankrag.evaluation.aggregate import Evaluation
from rankrag.evaluation.lines import QuestionLine
from rankrag.evaluation.parts import Openers
from rankrag.evaluation.run import Settings, evaluate
from rankrag.evaluation.systems import System
from rankrag.models.prepared import resolve_model
from rankrag.models.transformers import TransformersModel
from rankrag.opening import Say
from rankrag.training.checks import contract_of
from rankrag.training.start import padded_tokenizer

Measure = Literal["hit@1", "F1", "loss"]
"""Gold passage first in the model's order; F1 of its answers; nats per token of replies to held-out instructions."""

Values = Mapping[Measure, Sequence[float]]
"""Of one row, question by question or instruction by instruction, in the same order for every row."""


@dataclass(frozen=True)
class Lab:
    """A study in its folder, with the device and number type of its models."""

    study: Study
    out: Path
    device: str = "auto"
    dtype: str = "auto"
    say: Say = lambda _: None
    progress: Progress = quiet

    def run(self, rows: Sequence[Row], command: str, machine: str) -> None:
        """Make and test these rows; finished work is not repeated."""
        by_name, run = {model_name(row): row for row in rows}, self.out / "questions"
        evaluate(
            Path(self.study.instructions.data),
            run,
            [system for row in rows for system in self.systems(row)],
            Openers(lambda name: self.open(by_name[name])),
            Settings(sample=0, seed=self.study.config.seed, command=command, machine=machine),
            sets=question_sets(self.study, run, self.progress),
            progress=self.progress,
            say=self.say,
        )

    def systems(self, row: Row) -> list[System]:
        """Return a row as systems: its answers, and the model's own order if the answers are from BM25's."""
        config, model = self.study.config, model_name(row)
        values: dict[str, Any] = {"model": model, "retriever": "bm25", "n": config.n, "k": config.k}
        answers = System(name=row.name, **values, similarity=False, abstain=False)
        if row.wanted.rerank:
            return [answers]
        order = answers.changed(name=f"{row.name}, own order", model="none", ranker=f"model:{model}", role="order")
        return [answers.changed(ranker="none"), order]

    def open(self, row: Row) -> tuple[TransformersModel, str]:
        """Return the model of a row and its directory, made and asked for its losses unless that was done."""
        if row.recipe is not None:
            steps = f"{row.name}: steps"
            name = str(made(row.recipe, self.out, say=self.say, report=lambda done, n: self.progress(steps, done, n)))
            model = TransformersModel(name, device=self.device, dtype=self.dtype)
        else:
            name = resolve_model(self.study.base.model, self.say)
            contract = contract_of(self.study.base, padded_tokenizer(name, self.study.base.pad_token), "")
            model = TransformersModel(name, device=self.device, dtype=self.dtype, contract=contract)
        if not self._losses(row).is_file():
            losses = reply_losses(model, instructions_of(self.study), self.progress)
            write_whole(self._losses(row), json.dumps(losses, indent=1) + "\n")
        return model, name

    def values(self, evaluation: Evaluation) -> dict[str, Values]:
        """Return what was measured of each row, by name; rows that were not run as configured now are left out."""
        known = {(system.name, system.model, system.n, system.k) for system in evaluation.description.systems}
        found: dict[str, Values] = {}
        for row in self.study.rows:
            answers, *others = self.systems(row)
            if (answers.name, answers.model, answers.n, answers.k) in known:
                order = _lines(evaluation, others[0] if others else answers)
                found[row.name] = {
                    "hit@1": [float(line.reranked[0] in line.gold) for line in order],
                    "F1": [line.metrics["F1"] for line in _lines(evaluation, answers)],
                    "loss": list(json.loads(self._losses(row).read_text(encoding="utf-8")).values()),
                }
        return found

    def _losses(self, row: Row) -> Path:
        config = self.study.config
        folder = folder_of(row.recipe, self.out) if row.recipe else self.out / "models" / "base"
        return folder / f"losses-{config.instructions}-{config.seed}.json"


def model_name(row: Row) -> str:
    """Return the name of a row's model: its recipe and digest, or the base."""
    return f"{row.recipe.name}-{row.recipe.digest}" if row.recipe else "base"


def _lines(evaluation: Evaluation, system: System) -> list[QuestionLine]:
    return [line for described in evaluation.description.sets for line in evaluation.lines(described.name, system.name)]
