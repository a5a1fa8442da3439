"""The transformers Trainer with the parts that are special to RankRAG: steps of rows, their loss, whole checkpoints.

A step is planned ahead (`batches.plan`), so one item of the data set is a whole step, and this class does what the
Trainer's gradient accumulation would do: several batches before the optimiser moves, over several processes.
"""

from __future__ import annotations

import math
import os
import shutil
from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from safetensors.torch import load_file, save_file
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset
from transformers import PrinterCallback, Trainer, TrainingArguments

from rankrag.config.training import TrainConfig
from rankrag.cores import share_cores
from rankrag.errors import ModelError
from rankrag.training.batches import Batch, Step, padded
from rankrag.training.checkpoints import checkpoint_path, newest_checkpoint, prune, seal, whole_checkpoints
from rankrag.training.dev import figures, read_dev
from rankrag.training.folder import write_log
from rankrag.training.loss import RowModel, batch_loss
from rankrag.training.shards import load_shards, save_shards
from rankrag.types import DataKind

Share = tuple[list[Batch], float]
"""One process's batches of a step, and the weight of the whole step's target tokens."""

_WEIGHTS, _SHARDS, _SCHEDULER = "trained.safetensors", "shards", "scheduler.pt"


class Shares(Dataset[Share]):
    """One process's share of each step; all processes get equally many batches, some of them empty if need be."""

    def __init__(self, steps: list[Step], *, tokens: int, pad_id: int, rank: int = 0, world: int = 1) -> None:
        self.steps, self.tokens, self.pad_id, self.rank, self.world = steps, tokens, pad_id, rank, world

    def __len__(self) -> int:
        return len(self.steps)

    def __getitem__(self, index: int) -> Share:
        step = self.steps[index]
        # all processes must meet in every round, or the gradients' average would wait forever: some get empty batches
        rounds = math.ceil(len(step.batches) / self.world)
        own = [*step.batches, *([[]] * (rounds * self.world - len(step.batches)))][self.rank :: self.world]
        return [padded(batch, self.tokens, self.pad_id) for batch in own], step.weight


class RowTrainer(Trainer):  # type: ignore[misc]
    """Trains a `RowModel` on `Shares`; `dev`, a single step, is measured now and then.

    If a loss, a gradient or a weight is not finite, or a checkpoint cannot be written, `ModelError` stops the run and
    nothing of that step is saved.
    """

    def __init__(
        self,
        model: RowModel,
        args: TrainingArguments,
        data: Shares,
        *,
        config: TrainConfig,
        label_ids: Sequence[int],
        dev: Shares | None = None,
    ) -> None:
        super().__init__(model=model, args=args, train_dataset=data, eval_dataset=dev, data_collator=_only)
        self.pop_callback(PrinterCallback)
        self.sharded = config.sharding == "fsdp2"
        # despite its name, this tells the Trainer that the model has its own shards and must not be wrapped
        self.is_distributed_loading_by_transformers = self.sharded
        self.config, self.label_ids = config, label_ids
        self.sums: dict[str, torch.Tensor] = defaultdict(lambda: torch.zeros(2, dtype=torch.float64))

    def get_train_dataloader(self) -> DataLoader[Share]:  # noqa: D102
        # a GPU finishes a batch before one process has laid out the next
        workers = 4 if self.args.device.type == "cuda" else 0
        # an item is a step, in the plan's order: a run that goes on skips as many items as it had done steps
        return DataLoader(self.train_dataset, batch_size=1, shuffle=False, collate_fn=_only, num_workers=workers)

    def training_step(self, model: Any, inputs: dict[str, Share], *_: Any) -> torch.Tensor:  # noqa: D102
        model.train()
        batches, weight = inputs["share"]
        total = torch.zeros((), device=self.args.device)
        # the Trainer's accumulation would average batches, which differ in target tokens; here their losses are summed
        for place, batch in enumerate(batches, start=1):
            last = place == len(batches)
            share_cores(self.args.device)
            moved = batch.to(self.args.device)
            # gradients of several processes are averaged once a step, after the last batch
            with nullcontext() if last else self.accelerator.no_sync(model):
                with self.compute_loss_context_manager():
                    summed, losses = batch_loss(model(moved), moved)
                # the step's weight divides by all processes' tokens; averaging gradients would divide once more
                loss = summed / weight * self.args.world_size
                if not torch.isfinite(loss):
                    raise ModelError(self._stopped(f"the loss is {loss.item()}"))
                self.accelerator.backward(loss)
            total += loss.detach()
            self._count(moved, losses)
        return total

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        # the Trainer asks for the norm before the optimiser's step, so raising here leaves the weights as they were
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        if not math.isfinite(norm):
            raise ModelError(self._stopped(f"the gradient norm is {float(norm)}"))
        return norm

    def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
        """Log the dev figures and return them; weights, optimiser and random state stay as they are."""
        step = self.state.global_step
        if any("dev_auc" in seen or "dev_exact" in seen for seen in self.state.log_history if seen["step"] == step):
            return {}  # a run that goes on from this checkpoint measured here before
        batches, _ = self.eval_dataset[0]
        own = []
        self.model.eval()
        # not compiled: a few batches without gradients do not pay for new shapes
        with torch.compiler.set_stance("force_eager"):
            for batch in batches:
                own += read_dev(self.model, batch.to(self.args.device), self.label_ids)
        self.model.train()
        found = figures(gather_object(own))
        super().log(dict(found))
        return found

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Log with the entry the mean loss of a target token of each data kind, over all processes."""
        # each process has seen other kinds, so a mean of their means would be wrong: losses and counts are summed
        sums = torch.stack([self.sums[kind] for kind in DataKind]).to(self.args.device)
        sums = self.accelerator.reduce(sums.float(), "sum").cpu()
        means = {f"loss_{k}": round(float(s / n), 6) for k, (s, n) in zip(DataKind, sums, strict=True) if n}
        self.sums.clear()
        super().log({**logs, **means}, *args, **kwargs)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:  # noqa: D102
        # the library's own schedules begin at a rate of 0, so that their first step teaches nothing
        self.lr_scheduler = LambdaLR(
            optimizer or self.optimizer, lambda step: rate_share(self.config, step, num_training_steps)
        )
        return self.lr_scheduler

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write only the trained weights, from which a run goes on; `folder` writes the results."""
        if self.args.should_save and not self.sharded and output_dir is not None:
            Path(output_dir).mkdir(parents=True, exist_ok=True)
            save_file({n: p.detach().contiguous() for n, p in _trained(self.model).items()}, f"{output_dir}/{_WEIGHTS}")

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.sharded:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        save_shards(self.model, self.optimizer.optimizer, Path(output_dir) / _SHARDS)
        if self.args.should_save:
            torch.save(self.lr_scheduler.state_dict(), f"{output_dir}/{_SCHEDULER}")

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if not self.sharded or checkpoint is None:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        # `optimizer.optimizer`: accelerate wraps the real one, whose states are those of the shards
        load_shards(self.model, self.optimizer.optimizer, Path(checkpoint) / _SHARDS)
        self.lr_scheduler.load_state_dict(torch.load(f"{checkpoint}/{_SCHEDULER}", weights_only=True))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, *_: Any) -> None:
        if self.sharded:  # loaded together with the optimiser
            return
        found = load_file(f"{resume_from_checkpoint}/{_WEIGHTS}")
        wanted = _trained(self.model)
        if {n: p.shape for n, p in found.items()} != {n: p.shape for n, p in wanted.items()}:
            raise ModelError(
                f"{resume_from_checkpoint} holds the weights of another model or adapter; start over with --fresh"
            )
        with torch.no_grad():
            for name, parameter in wanted.items():
                parameter.copy_(found[name])

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if broken := [name for name, weight in _trained(self.model).items() if not weight.isfinite().all()]:
            raise ModelError(self._stopped(f"{broken[0]} has weights that are not finite"))
        out = Path(self.args.output_dir)
        checkpoint = checkpoint_path(out, self.state.global_step)
        if self.args.should_save:
            shutil.rmtree(checkpoint, ignore_errors=True)  # a killed run may have left files whose list is still right
        self.accelerator.wait_for_everyone()
        try:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                seal(checkpoint)
                prune(out, self.config.keep_checkpoints)
                write_log(out, self.state.log_history)
        except (OSError, RuntimeError) as error:  # torch and safetensors report a full disk as a RuntimeError
            if self.args.should_save:
                shutil.rmtree(checkpoint, ignore_errors=True)
            raise ModelError(self._stopped(f"the checkpoint cannot be written ({error})")) from error

    def _count(self, batch: Batch, losses: torch.Tensor) -> None:
        for target, own in zip(batch.targets, batch.by_target(losses.cpu()), strict=True):
            self.sums[target.kind] += torch.stack([own.double().sum(), torch.tensor(float(target.tokens))])

    def _stopped(self, reason: str) -> str:
        kept = newest_checkpoint(Path(self.args.output_dir))
        rest = f"{kept} is whole, the same command goes on from it" if kept else "no checkpoint was written yet"
        return f"step {self.state.global_step}: {reason}; {rest}"


def rate_share(config: TrainConfig, step: int, steps: int) -> float:
    """Return the learning rate of a step (from 0) as a share of its peak."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if config.schedule == "linear":
        height = min(1.0, max(0, steps - step) / max(1, config.decay_steps))
    else:
        done = min(1.0, (step - config.warmup_steps) / max(1, steps - config.warmup_steps))
        height = (1 + math.cos(math.pi * done)) / 2
    return config.final_rate_share + (1 - config.final_rate_share) * height


def arguments(config: TrainConfig, steps: int, *, bf16: bool, logs: Path | None) -> TrainingArguments:
    """Return the Trainer's arguments; `logs` is the folder for TensorBoard, where that is installed."""
    if logs:
        os.environ["TENSORBOARD_LOGGING_DIR"] = str(logs)  # the Trainer takes it from nowhere else
    return TrainingArguments(
        output_dir=config.out,
        per_device_train_batch_size=1,  # an item is a whole step
        max_steps=steps,
        learning_rate=config.learning_rate,
        adam_beta1=config.adam_betas[0],
        adam_beta2=config.adam_betas[1],
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        bf16=bf16,
        logging_steps=config.log_steps,
        save_steps=config.save_steps,
        eval_strategy="steps" if config.dev else "no",
        eval_steps=config.dev.steps if config.dev else None,
        eval_on_start=config.dev is not None,
        seed=config.seed,
        remove_unused_columns=False,  # it knows columns of tables only, and a `Share` has none
        report_to=["tensorboard"] if logs else [],
        disable_tqdm=True,
        dataloader_num_workers=0,
        use_cpu=not torch.cuda.is_available(),
    )


def average_checkpoints(model: torch.nn.Module, out: Path, count: int) -> None:
    """Set what was trained to its mean over the newest `count` whole checkpoints of a run folder.

    Few steps at a high rate leave a model that forgets one thing as it learns another; their mean does not.
    """
    found = [load_file(path / _WEIGHTS) for path in islice(whole_checkpoints(out), count)]
    with torch.no_grad():
        for name, weight in _trained(model).items():
            weight.copy_(torch.stack([one[name].float() for one in found]).mean(0))


def _trained(model: torch.nn.Module) -> dict[str, torch.nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _only(features: list[Share]) -> dict[str, Share]:
    (share,) = features
    return {"share": share}  # the Trainer looks for labels, so it needs a mapping
