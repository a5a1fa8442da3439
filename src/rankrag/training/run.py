"""A training run: one stage of the recipe, from a blend to a model that carries its contract."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig

from rankrag.config.training import TrainConfig
from rankrag.data.examples import read_examples
from rankrag.data.files import sha256
from rankrag.devices import has_bf16
from rankrag.errors import ConfigError
from rankrag.training.batches import Step, pack, plan
from rankrag.training.checkpoints import newest_checkpoint, prune
from rankrag.training.checks import CheckedRun, check_run
from rankrag.training.dev import Split, dev_examples, split_of
from rankrag.training.folder import check_same_run, open_folder, save_results, write_log
from rankrag.training.kept_rows import kept_rows
from rankrag.training.loss import RowModel
from rankrag.training.rows import Row, build_rows
from rankrag.training.shards import is_first, shard, whole_weights, without_weights
from rankrag.training.start import load_model, tokenizer_fingerprint, tune
from rankrag.training.step_report import Report, Say, StepReport
from rankrag.training.trainer import RowTrainer, Shares, arguments, average_checkpoints
from rankrag.types import Example


def train(
    config: TrainConfig,
    *,
    resume: bool = True,
    say: Say = lambda _: None,
    report: Report = lambda _done, _total: None,
    say_steps: Say = lambda _: None,
) -> Path:
    """Train as configured; return the directory of the result: an adapter, or a model after `method: full`.

    Goes on from the newest whole checkpoint in the run folder, if any. Each process of a `torchrun` computes its share
    of every step. `report` hears of every step, `say_steps` of every entry of the log.

    Raises:
        ConfigError, DataError: before any weights are loaded; they list all that is wrong.
        ModelError: a loss is not finite, or the disk is full; the last checkpoint stays.
    """
    out = Path(config.out)
    if resume:
        check_same_run(config, out)
    prepared = check_run(config, say)
    split = split_of(config.dev, prepared.examples)
    steps = plan_of(config, prepared, split, say)
    dev = dev_step(config, prepared, split)
    bf16 = has_bf16() if config.bf16 is None else config.bf16
    logs = out / "tensorboard" if importlib.util.find_spec("tensorboard") else None
    args = arguments(config, len(steps), bf16=bf16, logs=logs)
    if args.should_save:
        if not resume:
            prune(out, 0)
        open_folder(config, prepared, steps)
        examples, tokens = sum(s.kinds.total() for s in steps), sum(s.tokens for s in steps)
        say(f"{examples:,} examples in {len(steps):,} steps, {tokens:,} tokens")
    shares = partial(
        Shares,
        tokens=config.tokens_per_batch,
        pad_id=prepared.tokenizer.pad_token_id,
        rank=args.process_index,
        world=args.world_size,
    )
    trainer = RowTrainer(
        row_model(config, prepared, args.device, bf16=bf16),
        args,
        shares(steps),
        config=config,
        label_ids=prepared.encoder.contract.label_ids,
        dev=shares([dev]) if dev else None,
    )
    trainer.add_callback(StepReport([step.tokens for step in steps], report, say_steps))
    checkpoint = newest_checkpoint(out) if resume else None
    if checkpoint and args.should_save:
        say(f"This run goes on from {checkpoint}")
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if config.average_checkpoints > 1:
        average_checkpoints(trainer.model, out, config.average_checkpoints)
    weights = whole_weights(trainer.model) if trainer.sharded else None
    if not args.should_save:
        return out
    write_log(out, trainer.state.log_history)
    return save_results(trainer.model.causal, config, prepared, weights)


def row_model(config: TrainConfig, prepared: CheckedRun, device: torch.device, *, bf16: bool) -> RowModel:
    """Return the model to train, whole or in shards."""
    if config.sharding == "none":
        model = RowModel(load_model(config, prepared.start, bf16=bf16))
        tune(config, model.inner)
        return model
    whole = load_model(config, prepared.start, bf16=bf16).state_dict() if is_first() else {}
    shape = AutoConfig.from_pretrained(prepared.start.base)
    model = RowModel(without_weights(shape, compiled=config.compile))
    tune(config, model.inner)
    return shard(model, {f"causal.{name}": weight for name, weight in whole.items()}, device, bf16=bf16)


def plan_of(config: TrainConfig, prepared: CheckedRun, split: Split, say: Say = lambda _: None) -> list[Step]:
    """Return the steps of a run; `DataError` lists the examples that do not fit."""
    rows = kept_rows(
        prepared.examples.parent,
        _decides_rows(config, prepared, split),
        lambda: _rows(config, prepared, filter(split.learns, read_examples(prepared.examples)), say),
        say,
    )
    if not rows:
        raise ConfigError(f"{config.blend}: the blend holds no examples; run `rankrag blend` first")
    return plan(
        rows,
        tokens=config.tokens_per_batch,
        batches_per_step=config.batches_per_step,
        examples_per_step=config.examples_per_step,
        max_steps=config.max_steps,
        seed=config.seed,
    )


def dev_step(config: TrainConfig, prepared: CheckedRun, split: Split) -> Step | None:
    """Return what is measured during a run as one step; None where nothing is wanted."""
    if config.dev is None:
        return None
    examples = dev_examples(config.dev, prepared.examples, split)
    if not examples:
        raise ConfigError("dev: nothing is held back to be measured; raise dev.share, or name a file as dev.examples")
    rows = _rows(config, prepared, examples)
    return Step(tuple(pack(rows, tokens=config.tokens_per_batch, rng=random.Random(config.seed))))


def _decides_rows(config: TrainConfig, prepared: CheckedRun, split: Split) -> dict[str, Any]:
    contract = prepared.encoder.contract
    return {
        "blend": sha256(prepared.examples),
        "held out": split.share,  # it decides the held-out questions of a blend
        "tokenizer": tokenizer_fingerprint(prepared.tokenizer),
        "format": asdict(contract.format),
        "limits": [contract.passage_tokens, contract.max_tokens, prepared.limit, config.tokens_per_batch],
        "weights": [config.label_weight, config.answer_weight],
    }


def _rows(
    config: TrainConfig, prepared: CheckedRun, examples: Iterable[Example], say: Say = lambda _: None
) -> list[Row]:
    return build_rows(
        prepared.encoder,
        examples,
        limit=prepared.limit,
        row_tokens=config.tokens_per_batch,
        label_weight=config.label_weight,
        answer_weight=config.answer_weight,
        say=say,
    )
