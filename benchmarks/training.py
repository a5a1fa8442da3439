"""Training speed against TRL's SFTTrainer on the same model and data, in one run.

The data asks every example question about some passages, as ranking and answering examples, so that several examples
share each passage. Three ways train the same LoRA adapter in the same number type, without compilation: TRL's
SFTTrainer (loss on the completion only, padded batches), rankrag with one row per example, and rankrag with
shared-prefix rows. The script prints tokens and examples per CPU second, which other load hardly changes, or per second
on a GPU. A token counts once for each example that has it and padding does not count, so shared rows show in both. The
first step of each way is not counted; on a GPU the first two.

`--what-pays` compares what could make a step of shared-prefix rows faster: compiled layers, larger and smaller batches,
and fewer adapted layers, which is a different training.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from transformers import DataCollatorForSeq2Seq, Trainer, TrainerCallback, TrainingArguments

from rankrag.config.training import LoraSettings, TrainConfig
from rankrag.devices import has_bf16
from rankrag.encoding import PromptEncoder
from rankrag.models.prepared import prepare_model
from rankrag.training.batches import IGNORE, Step, plan
from rankrag.training.checks import contract_of
from rankrag.training.loss import RowModel
from rankrag.training.rows import Row, build_rows
from rankrag.training.start import Start, load_model, padded_tokenizer, tune
from rankrag.training.trainer import RowTrainer, Shares, arguments
from rankrag.types import DataKind, Example, Passage, Question

EXAMPLES = Path(__file__).parents[1] / "examples" / "corpus"
WORDS = 150
WARM_UP = 2 if torch.cuda.is_available() else 1
CLOCK = "s" if torch.cuda.is_available() else "CPU-s"
PLAIN = {"compile": False, "bf16": has_bf16(), "log_steps": 1000}


@dataclass(frozen=True)
class Steps:
    """What the measured steps held, and how long each took."""

    tokens: list[int]
    examples: list[int]
    seconds: list[float]

    @property
    def tokens_a_second(self) -> float:
        """Return tokens a second over all measured steps."""
        return sum(self.tokens) / sum(self.seconds)

    @property
    def examples_a_second(self) -> float:
        """Return examples a second over all measured steps."""
        return sum(self.examples) / sum(self.seconds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", help="model directory; by default the base of rankrag-mini")
    parser.add_argument("--steps", type=int, default=4, help="measured steps of each")
    parser.add_argument("--tokens", type=int, default=1536, help="tokens of a batch")
    parser.add_argument("--passages", type=int, default=24)
    parser.add_argument("--questions", type=int, default=4, help="questions of a passage")
    parser.add_argument("--top-layers", type=int, help="adapt only this many of the last layers")
    parser.add_argument("--what-pays", action="store_true", help="ways of our own instead of TRL")
    wanted = parser.parse_args()
    model = wanted.model or str(prepare_model("rankrag-mini-base", print))
    with tempfile.TemporaryDirectory() as out:
        lora = LoraSettings.model_validate({"top_layers": wanted.top_layers})
        config = TrainConfig(model=model, blend="", out=out, tokens_per_batch=wanted.tokens, lora=lora, **PLAIN)
        tokenizer = padded_tokenizer(model, None)
        encoder = PromptEncoder(tokenizer, contract_of(config, tokenizer, ""))
        examples = example_set(wanted.passages, wanted.questions)
        shared = rows_of(encoder, examples, config)
        alone = [Row(row.prefix, [tail]) for row in shared for tail in row.tails]
        runs = (
            what_pays(config, encoder, examples, wanted.steps)
            if wanted.what_pays
            else {
                "TRL SFTTrainer": lambda: trl(config, alone, wanted.steps),
                "rankrag, one row an example": lambda: ours(config, encoder, alone, wanted.steps),
                "rankrag, shared-prefix rows": lambda: ours(config, encoder, shared, wanted.steps),
            }
        )
        print(f"{len(examples)} examples, {torch.get_num_threads()} threads, bf16 {config.bf16}, {wanted.steps} steps")
        reference = None
        for name, run in runs.items():
            found = run()
            reference = reference or found
            print(
                f"{name:30} {found.tokens_a_second:8.1f} tokens/{CLOCK} "
                f"({found.tokens_a_second / reference.tokens_a_second:.2f} x)   "
                f"{found.examples_a_second:6.2f} examples/{CLOCK} "
                f"({found.examples_a_second / reference.examples_a_second:.2f} x)",
                flush=True,
            )


def what_pays(
    config: TrainConfig, encoder: PromptEncoder, examples: Sequence[Example], steps: int
) -> dict[str, Callable[[], Steps]]:
    """Return the ways of training on shared-prefix rows, the configured one first."""
    tokens = config.tokens_per_batch
    adapted = {n: LoraSettings.model_validate({"top_layers": n}) for n in (20, 10)}
    changes: dict[str, dict[str, Any]] = {
        f"{tokens:,} tokens a batch": {},
        "compiled": {"compile": True},
        **{f"{n:,} tokens a batch": {"tokens_per_batch": n} for n in (tokens // 2, tokens * 2)},
        **{f"the last {n} layers adapted": {"lora": lora} for n, lora in adapted.items()},
    }

    def run(change: dict[str, Any]) -> Steps:
        changed = config.model_copy(update=change)
        return ours(changed, encoder, rows_of(encoder, examples, changed), steps)

    return {name: partial(run, change) for name, change in changes.items()}


def example_set(passages: int, questions: int) -> list[Example]:
    """Return ranking and answering examples over windows of the example documents."""
    rng = random.Random(0)
    texts = {path.stem: path.read_text(encoding="utf-8").split() for path in sorted(EXAMPLES.rglob("*.md"))}
    origins = [(name, word) for name, words in texts.items() for word in words]
    found = []
    for start in range(0, len(origins) - WORDS, (len(origins) - WORDS) // passages)[:passages]:
        name, words = origins[start][0], [word for _, word in origins[start : start + WORDS]]
        passage = Passage(f"{name}/{start}", " ".join(words))
        for number in range(questions):
            asked = rng.choice(list(texts))
            text = f"What is said of {asked} in the year {rng.randint(1500, 2000)}?"
            question = Question(f"{passage.id}/{number}", text)
            if number % 4 == 3:
                found.append(Example(DataKind.CONTEXT_QA, "s", question, (passage,), " ".join(words[40:46])))
            else:
                target = "True" if asked == name else "False"
                found.append(Example(DataKind.CONTEXT_RANKING, "s", question, (passage,), target))
    return found


def rows_of(encoder: PromptEncoder, examples: Sequence[Example], config: TrainConfig) -> list[Row]:
    """Return shared-prefix rows."""
    tokens = config.tokens_per_batch
    return build_rows(encoder, examples, limit=min(1024, tokens), row_tokens=tokens)


def ours(config: TrainConfig, encoder: PromptEncoder, rows: list[Row], steps: int) -> Steps:
    """Return the measured steps of the RowTrainer."""
    laid = plan(
        rows,
        tokens=config.tokens_per_batch,
        batches_per_step=1,
        examples_per_step=None,
        max_steps=steps + WARM_UP,
        seed=0,
    )
    args = arguments(config, len(laid), bf16=bool(config.bf16), logs=None)
    args.save_strategy = "no"
    causal = load_model(config, start_of(config), bf16=bool(config.bf16))
    tune(config, causal)
    model = RowModel(causal)
    data = Shares(laid, tokens=config.tokens_per_batch, pad_id=encoder.tokenizer.pad_token_id)
    true, false = encoder.contract.label_ids
    trainer = RowTrainer(model, args, data, config=config, label_ids=(true, false))
    seconds = timed(trainer)
    measured = laid[WARM_UP:]
    return Steps([tokens_of(step) for step in measured], [step.kinds.total() for step in measured], seconds)


def trl(config: TrainConfig, alone: list[Row], steps: int) -> Steps:
    """Return the same for TRL's SFTTrainer, whose batches have about as many tokens."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows, batch = padded_rows(config, alone, steps)
    columns = {
        "input_ids": [[*row.prefix, *row.tails[0].ids, *row.tails[0].target] for row in rows],
        "completion_mask": [
            [0] * (len(row.prefix) + len(row.tails[0].ids)) + [1] * len(row.tails[0].target) for row in rows
        ],
    }
    args = SFTConfig(**padded_arguments(config, batch, steps), completion_only_loss=True, max_length=None)
    model = load_model(config, start_of(config), bf16=bool(config.bf16))
    tokenizer = padded_tokenizer(config.model, None)
    trainer = SFTTrainer(model, args, train_dataset=Dataset.from_dict(columns), processing_class=tokenizer)
    return padded_steps(rows, batch, timed(trainer))


def plain_trainer(config: TrainConfig, alone: list[Row], steps: int) -> Steps:
    """Return the same for transformers' own Trainer and collator."""
    rows, batch = padded_rows(config, alone, steps)
    data = []
    for row in rows:
        prompt, target = [*row.prefix, *row.tails[0].ids], list(row.tails[0].target)
        data.append({"input_ids": prompt + target, "labels": [IGNORE] * len(prompt) + target})
    args = TrainingArguments(**padded_arguments(config, batch, steps), remove_unused_columns=False)
    model = load_model(config, start_of(config), bf16=bool(config.bf16))
    collator = DataCollatorForSeq2Seq(padded_tokenizer(config.model, None))
    trainer = Trainer(model, args, train_dataset=data, data_collator=collator)
    return padded_steps(rows, batch, timed(trainer))


def padded_rows(config: TrainConfig, alone: list[Row], steps: int) -> tuple[list[Row], int]:
    """Return the rows of all steps in random order, and the number of rows in a batch."""
    mean = sum(map(len, alone)) / len(alone)
    batch = max(1, int(config.tokens_per_batch / mean))
    rows = list(alone)
    random.Random(0).shuffle(rows)
    count = batch * (steps + WARM_UP)
    return (rows * (1 + count // len(rows)))[:count], batch


def padded_arguments(config: TrainConfig, batch: int, steps: int) -> dict[str, Any]:
    """Return the arguments of a Trainer whose batches are padded rows, in their order."""
    return {
        "output_dir": config.out,
        "per_device_train_batch_size": batch,
        "max_steps": steps + WARM_UP,
        "learning_rate": config.learning_rate,
        "bf16": bool(config.bf16),
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "logging_steps": 1000,
        "use_cpu": not torch.cuda.is_available(),
        "train_sampling_strategy": "sequential",
    }


def padded_steps(rows: list[Row], batch: int, seconds: list[float]) -> Steps:
    """Return the measured steps of padded rows."""
    tokens = [sum(map(len, rows[start : start + batch])) for start in range(WARM_UP * batch, len(rows), batch)]
    return Steps(tokens, [batch] * len(tokens), seconds)


def timed(trainer: Trainer) -> list[float]:
    """Train; return the seconds of each step after the first `WARM_UP`: CPU time, or clock time on a GPU."""
    clock = StepClock()
    trainer.add_callback(clock)
    trainer.train()
    return [end - begin for begin, end in pairwise(clock.ends[WARM_UP - 1 :])]


class StepClock(TrainerCallback):
    """Keeps the time at which each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, args: object, state: object, control: object, **_: object) -> None:  # noqa: ARG002
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter() if torch.cuda.is_available() else time.process_time())


def tokens_of(step: Step) -> int:
    """Return the tokens of all examples of a step; a shared prefix counts once for each."""
    rows = [row for batch in step.batches for part in batch for row in part]
    return sum(len(row.prefix) + len(tail) for row in rows for tail in row.tails)


def start_of(config: TrainConfig) -> Start:
    """Return the base to start from."""
    return Start(config.model, config.model)


if __name__ == "__main__":
    main()
