"""Training an adapter on a blend, on the transformers Trainer with PEFT.

Only what is particular to RankRAG is ours: rows (`rows`), the loss on target tokens alone, a step of constant size.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import Dataset, SequentialSampler
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from rankrag.config import TrainConfig
from rankrag.contract import Contract, save_contract
from rankrag.encoding import PromptEncoder, chat_turns, plain_turns
from rankrag.errors import ConfigError, ModelError
from rankrag.examples import read_examples
from rankrag.models.devices import has_bf16
from rankrag.templates import Format
from rankrag.training.rows import IGNORE, KINDS, Batch, Row, attention_mask, build_rows, pack, to_batch


def train(config: TrainConfig, model_dir: Path, *, base_sha256: str = "", resume: bool = True) -> Path:
    """Train as configured, from the model in `model_dir`; return the directory of the finished adapter.

    Goes on from the newest checkpoint in the run folder where there is one. A step whose loss is not finite stops
    the run with `ModelError`; the last checkpoint stays.
    """
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    encoder = PromptEncoder(tokenizer, contract_of(config, tokenizer, base_sha256))
    rows = build_rows(
        encoder,
        read_examples(Path(config.blend) / "examples.jsonl.zst"),
        max_tokens=config.tokens_per_step,
        label_weight=config.label_weight,
        answer_weight=config.answer_weight,
    )
    if not rows:
        raise ConfigError(f"{config.blend}: the blend holds no examples; run `rankrag blend` first")
    data = Batches(rows, config, tokenizer.pad_token_id or 0)
    steps = config.max_steps if config.max_steps > 0 else len(data)
    bf16 = has_bf16() if config.bf16 is None else config.bf16
    trainer = RowTrainer(
        model=adapted_model(config, model_dir, bf16),
        args=_arguments(config, steps, bf16),
        train_dataset=data,
        data_collator=_only,
        schedule=config,
    )
    checkpoint = get_last_checkpoint(str(out)) if resume else None
    trainer.train(resume_from_checkpoint=checkpoint)
    trainer.model.peft_config["default"].base_model_name_or_path = config.model
    return save_adapter(trainer, tokenizer, out / "adapter", encoder.contract)


def contract_of(config: TrainConfig, tokenizer: Any, base_sha256: str) -> Contract:
    """Return the contract that a run trains under, and that its checkpoint will carry."""
    turns = chat_turns(tokenizer) if config.turn_format == "chat_template" else plain_turns(tokenizer)
    form = Format(turns=turns, layout=config.layout, history_turns=config.history_turns)
    return Contract(format=form, passage_tokens=config.passage_tokens, base_sha256=base_sha256)


def adapted_model(config: TrainConfig, model_dir: Path, bf16: bool) -> PeftModel:
    """Return the frozen base with a trainable adapter, its layers compiled where asked for."""
    base = AutoModelForCausalLM.from_pretrained(
        model_dir, dtype=torch.bfloat16 if bf16 else torch.float32, attn_implementation="sdpa"
    )
    if config.warm_start:
        model = PeftModel.from_pretrained(base, config.warm_start, is_trainable=True)
        model.peft_config["default"].base_model_name_or_path = str(model_dir)  # checkpoints look at its config
    else:
        torch.manual_seed(config.seed)
        lora = LoraConfig(
            r=config.lora.r,
            lora_alpha=config.lora.alpha,
            lora_dropout=config.lora.dropout,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        model = get_peft_model(base, lora)
    if config.compile:
        torch._dynamo.config.recompile_limit = 32  # three shapes, with and without gradient into the first layer
        for layer in max((m for m in base.modules() if isinstance(m, torch.nn.ModuleList)), key=len):
            layer.compile(dynamic=False)
    return model


def save_adapter(trainer: Trainer, tokenizer: Any, directory: Path, contract: Contract) -> Path:
    """Write the adapter in half precision with tokenizer and contract, and beside it the log of the run."""
    model = trainer.model
    weights = {k: v.to(torch.float16) for k, v in model.state_dict().items() if "lora_" in k}
    # else peft asks the hub whether the base's vocabulary was resized, and "rankrag-mini-base" is on no hub
    model.save_pretrained(directory, state_dict=weights, save_embedding_layers=False)
    tokenizer.save_pretrained(directory)
    save_contract(contract, directory)
    (directory.parent / "log.json").write_text(json.dumps(trainer.state.log_history, indent=1), encoding="utf-8")
    return directory


class Batches(Dataset[Batch]):
    """The packed batches of all passes over the rows, in the order of the seed."""

    def __init__(self, rows: list[Row], config: TrainConfig, pad_id: int) -> None:
        self.tokens, self.pad_id = config.tokens_per_step, pad_id
        rng = random.Random(config.seed)
        self.batches = pack(rows, tokens=self.tokens, rng=rng)
        while config.max_steps > len(self.batches):
            self.batches += pack(rows, tokens=self.tokens, rng=rng)

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Batch:
        sequences = self.batches[index]
        length = max(sum(map(len, rows)) for rows in sequences)
        parts = next(n for n in (3, 2, 1) if length <= self.tokens // n)
        padded = [*sequences, *([[]] * (parts - len(sequences)))]
        return to_batch(padded, self.tokens // parts, self.pad_id)


class RowTrainer(Trainer):  # type: ignore[misc]
    """The Trainer with the loss on target tokens only, and vocabulary logits computed nowhere else."""

    def __init__(self, *, schedule: TrainConfig, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.schedule = schedule
        self.sums: dict[str, list[float]] = {}

    def compute_loss(self, model: Any, inputs: dict[str, Batch], **_: Any) -> torch.Tensor:  # noqa: D102
        batch = inputs["batch"]
        logits, targets, weights, kinds = supervised(self.accelerator.unwrap_model(model), batch)
        losses = cross_entropy(logits.float(), targets, reduction="none")
        loss = (losses * weights).sum() / weights.sum().clamp_min(1e-9)
        if not torch.isfinite(loss):
            raise ModelError(f"step {self.state.global_step}: loss is {loss.item()}; the last checkpoint is intact")
        for number, value in zip(kinds.tolist(), losses.tolist(), strict=True):
            self.sums.setdefault(KINDS[number].value, []).append(value)
        return loss

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:  # noqa: D102
        means = {f"loss_{kind}": sum(values) / len(values) for kind, values in sorted(self.sums.items()) if values}
        self.sums.clear()
        super().log({**logs, **means}, *args, **kwargs)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LambdaLR:  # noqa: D102
        schedule = self.schedule

        def share(step: int) -> float:
            if step < schedule.warmup_steps:
                return (step + 1) / schedule.warmup_steps
            left = max(0.0, (num_training_steps - step) / max(1, schedule.decay_steps))
            return schedule.final_rate_share + (1 - schedule.final_rate_share) * min(1.0, left)

        self.lr_scheduler = LambdaLR(optimizer or self.optimizer, share)
        return self.lr_scheduler

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


def supervised(model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return logits [targets, vocabulary] at the places before target tokens, with targets, weights and kinds."""
    causal = model.get_base_model() if isinstance(model, PeftModel) else model
    mask = attention_mask(batch, next(causal.parameters()).dtype)
    hidden = causal.base_model(
        input_ids=batch.input_ids, attention_mask=mask, position_ids=batch.positions, use_cache=False
    ).last_hidden_state
    wanted = batch.labels[:, 1:] != IGNORE
    logits = causal.get_output_embeddings()(hidden[:, :-1][wanted])
    return logits, batch.labels[:, 1:][wanted], batch.weights[:, 1:][wanted], batch.kinds[:, 1:][wanted]


def _only(features: list[Batch]) -> dict[str, Batch]:
    (batch,) = features
    return {"batch": batch}


def _arguments(config: TrainConfig, steps: int, bf16: bool) -> TrainingArguments:
    return TrainingArguments(
        output_dir=config.out,
        per_device_train_batch_size=1,
        max_steps=steps,
        learning_rate=config.learning_rate,
        adam_beta1=config.adam_betas[0],
        adam_beta2=config.adam_betas[1],
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        bf16=bf16,
        logging_steps=10,
        save_steps=config.save_steps,
        save_total_limit=config.keep_checkpoints,
        seed=config.seed,
        remove_unused_columns=False,
        report_to=[],
        disable_tqdm=True,
        dataloader_num_workers=0,
        use_cpu=not torch.cuda.is_available(),
    )
