"""The small test that every row sits: a few hundred questions with few passages each, and held-back instructions."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from rankrag.ablation.results import Outcome
from rankrag.ablation.study import Study
from rankrag.blend.kinds import sft_examples
from rankrag.blend.sources import held_back_part
from rankrag.data.catalogue import BENCHMARKS
from rankrag.data.load import load
from rankrag.data.progress import Progress
from rankrag.data.sets import Judged, TestSet, folder_name
from rankrag.errors import ConfigError
from rankrag.evaluation.first_stage import FirstStage
from rankrag.evaluation.lines import Ids
from rankrag.evaluation.metrics import exact_match, hit_at, token_f1
from rankrag.evaluation.model_key import model_key
from rankrag.evaluation.work import ModelWork
from rankrag.models import LanguageModel
from rankrag.models.transformers import TransformersModel
from rankrag.training.batches import to_batch
from rankrag.training.dev import read
from rankrag.training.loss import RowModel
from rankrag.training.rows import build_rows, encode_examples
from rankrag.types import DataKind, Example


@dataclass(frozen=True, slots=True)
class Asked:
    """A set with the questions that are drawn from it, and BM25's passages of each, by question id."""

    test_set: TestSet
    questions: tuple[Judged, ...]
    passages: Mapping[str, Ids]


@dataclass(frozen=True, slots=True)
class Exam:
    """All that a row is tested on; the same for every row of a study."""

    sets: tuple[Asked, ...]
    instructions: tuple[Example, ...]


def open_exam(study: Study, out: Path, progress: Progress) -> Exam:
    """Return the questions and instructions of a study, drawn with its seed.

    A question is drawn from those with a gold passage among BM25's first `n`, so that ranking has something to find.
    """
    config = study.config
    sets = []
    for name, number in config.questions.items():
        test_set = load(BENCHMARKS[name], Path(study.instructions.data))
        found = FirstStage(test_set, out / "questions", progress=progress).ids("bm25")
        passages = {question: ids[: config.n] for question, ids in found.items()}
        usable = tuple(of for of in test_set.questions if hit_at(passages[of.question.id], of.gold, config.n))
        if len(usable) < number:
            raise ConfigError(
                f"questions: {name} has {len(usable)} with a gold passage among BM25's first {config.n}, not {number}; "
                "ask for fewer, or raise n"
            )
        sets.append(Asked(test_set, replace(test_set, questions=usable).sample(number, config.seed), passages))
    return Exam(tuple(sets), _instructions(study))


def answers(
    model: LanguageModel, name: str, exam: Exam, out: Path, *, k: int, progress: Progress
) -> tuple[Outcome, ...]:
    """Return how the model ranks each question's passages, and answers from the first `k` of either order.

    `name` is the directory of its weights. What a model said is kept in journals, and not asked again.
    """
    found: list[Outcome] = []
    for asked in exam.sets:
        folder = out / "questions" / folder_name(asked.test_set) / model_key(model, name)
        work = ModelWork(model, asked.test_set.passages, folder, asked.test_set.benchmark.title, progress)
        first = [asked.passages[of.question.id] for of in asked.questions]
        judged = work.judgements(list(zip(asked.questions, first, strict=True)))
        ranked = [
            tuple(sorted(ids, key=lambda i, own=judged[of.question.id]: -own[i].log_odds))  # type: ignore[misc]
            for of, ids in zip(asked.questions, first, strict=True)
        ]
        replies = [
            work.replies([(of, ids[:k]) for of, ids in zip(asked.questions, order, strict=True)])
            for order in (first, ranked)
        ]
        found += [
            Outcome(
                asked.test_set.benchmark.name,
                of.question.id,
                first_hit=hit_at(before, of.gold, 1),
                hit=hit_at(after, of.gold, 1),
                first_em=exact_match(reply_before, of.question.answers),
                em=exact_match(reply, of.question.answers),
                first_f1=token_f1(reply_before, of.question.answers),
                f1=token_f1(reply, of.question.answers),
            )
            for of, before, after, reply_before, reply in zip(asked.questions, first, ranked, *replies, strict=True)
        ]
    return tuple(found)


def reply_losses(model: TransformersModel, instructions: Sequence[Example], progress: Progress) -> dict[str, float]:
    """Return the mean loss of each instruction's reply in nats a token, its end among them, by source and id."""
    names = [f"{example.source}/{example.question.id}" for example in instructions]
    return dict(zip(names, _losses(model, instructions, progress), strict=True))


@torch.inference_mode()
def _losses(model: TransformersModel, instructions: Sequence[Example], progress: Progress) -> list[float]:
    limit = model.contract.max_tokens
    encoded = encode_examples(model.encoder, instructions, limit)
    rows = build_rows(encoded, row_tokens=limit, label_weight=1.0, answer_weight=1.0)
    true, false = model.contract.label_ids
    whole = RowModel(model.model)
    found = []
    for (row,) in rows:  # without passages every instruction is a row of its own
        (reading,) = read(whole, to_batch([[row]], len(row), pad_id=0).to(model.device), (true, false))
        found.append(reading.loss / reading.tokens)
        progress("instructions", len(found), len(rows))
    return found


def _instructions(study: Study) -> tuple[Example, ...]:
    config, blend = study.config, study.instructions
    held = [example for source in blend.sources for example in _held_back(study, source.name)]
    if len(held) < config.instructions:
        raise ConfigError(
            f"instructions: {len(held)} are held back from {config.stage1_blend}, not {config.instructions}; ask for "
            "fewer, or raise its held_back"
        )
    return tuple(random.Random(config.seed).sample(held, config.instructions))


def _held_back(study: Study, name: str) -> Iterator[Example]:
    source = next(of for of in study.instructions.sources if of.name == name)
    if DataKind.SFT in source.kinds:
        yield from sft_examples(held_back_part(study.instructions, source))
