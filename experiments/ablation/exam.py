"""The test of every row: questions with few passages each, and held-out instructions."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from experiments.ablation.study import Study
from rankrag.blend.kinds import sft_examples
from rankrag.blend.sources import held_back_part
from rankrag.data.catalogue import BENCHMARKS
from rankrag.data.load import load_set
from rankrag.data.progress import Progress
from rankrag.data.sets import TestSet
from rankrag.errors import ConfigError
from rankrag.evaluation.first_stage import FirstStage
from rankrag.evaluation.metrics import hit_at
from rankrag.models.transformers import TransformersModel
from rankrag.training.batches import to_batch
from rankrag.training.dev import read_dev
from rankrag.training.loss import RowModel
from rankrag.training.rows import build_rows
from rankrag.types import DataKind, Example


def question_sets(study: Study, run: Path, progress: Progress) -> list[TestSet]:
    """Return the test questions of a study, drawn with its seed.

    They are drawn from those with a gold passage among BM25's first `n`, so that ranking has something to find.
    """
    config, found = study.config, []
    for name, number in config.questions.items():
        test_set = load_set(BENCHMARKS[name], Path(study.instructions.data))
        ranking = FirstStage(test_set, run, progress=progress).ids("bm25")
        usable = tuple(q for q in test_set.questions if hit_at(ranking[q.question.id], q.gold, config.n))
        if len(usable) < number:
            raise ConfigError(f"questions: {name} has {len(usable)} with a gold passage in the first n, not {number}")
        drawn = replace(test_set, questions=usable).sample(number, config.seed)
        found.append(replace(test_set, questions=drawn))
    return found


def instructions_of(study: Study) -> tuple[Example, ...]:
    """Return held-out instructions of stage I, drawn with the study's seed."""
    config, blend = study.config, study.instructions
    sources = [source for source in blend.sources if DataKind.SFT in source.kinds]
    held = [example for source in sources for example in sft_examples(held_back_part(blend, source))]
    if len(held) < config.instructions:
        raise ConfigError(f"instructions: {len(held)} are held back from {config.stage1_blend}, ask for fewer")
    return tuple(random.Random(config.seed).sample(held, config.instructions))


@torch.inference_mode()
def reply_losses(model: TransformersModel, instructions: Sequence[Example], progress: Progress) -> dict[str, float]:
    """Return the mean loss of each reply in nats per token, including its end, by source and id."""
    limit = model.contract.max_tokens
    rows = build_rows(model.encoder, instructions, limit=limit, row_tokens=limit)
    true, false = model.contract.label_ids
    whole, found = RowModel(model.model), {}
    for example, row in zip(instructions, rows, strict=True):  # an instruction without passages is a row by itself
        (reading,) = read_dev(whole, to_batch([[row]], len(row), pad_id=0).to(model.device), (true, false))
        found[f"{example.source}/{example.question.id}"] = reading.loss / reading.tokens
        progress("instructions", len(found), len(rows))
    return found
