"""Training speed against TRL's SFTTrainer on the same model and data, in one run.

The data: every question of the example documents asked of some passages, as ranking and answering examples, so that
several examples share each passage. All train the same LoRA adapter in the same number type, without compilation:
TRL's SFTTrainer (loss on the completion alone, padded batches), rankrag with one row an example, and rankrag with
shared-prefix rows. Printed are the tokens and the examples of a CPU-second, which other work on the machine changes
little; a token counts once in each example that has it, padding not at all, so shared rows show in both. The first step
of each is not counted.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from rankrag.config import LoraSettings, TrainConfig
from rankrag.encoding import PromptEncoder
from rankrag.models.devices import has_bf16
from rankrag.models.mini import prepare_base
from rankrag.training.batches import Step, plan
from rankrag.training.checks import contract_of
from rankrag.training.loss import LossSettings, RowModel
from rankrag.training.rows import Bundle, Row, build_rows
from rankrag.training.start import Start, load_model, load_tokenizer
from rankrag.training.trainer import Progress, RowTrainer, Shares, arguments
from rankrag.types import DataKind, Example, Passage, Question

EXAMPLES = Path(__file__).parents[1] / "examples" / "corpus"
WORDS = 150
PLAIN = {"compile": False, "bf16": has_bf16(), "log_steps": 1000}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", help="model directory; by default the base of rankrag-mini")
    parser.add_argument("--steps", type=int, default=4, help="measured steps of each")
    parser.add_argument("--tokens", type=int, default=1536, help="tokens of a batch")
    parser.add_argument("--passages", type=int, default=24)
    parser.add_argument("--questions", type=int, default=4, help="questions of a passage")
    parser.add_argument("--top-layers", type=int, help="adapt only this many of the last layers")
    wanted = parser.parse_args()
    model = wanted.model or str(prepare_base(print))
    with tempfile.TemporaryDirectory() as out:
        lora = LoraSettings.model_validate({"top_layers": wanted.top_layers})
        config = TrainConfig(model=model, blend="", out=out, tokens_per_batch=wanted.tokens, lora=lora, **PLAIN)
        tokenizer = load_tokenizer(model, None)
        encoder = PromptEncoder(tokenizer, contract_of(config, tokenizer, ""))
        examples = example_set(wanted.passages, wanted.questions)
        shared = rows_of(encoder, examples, config)
        alone = [[Row(row.prefix, [tail])] for (row,) in shared for tail in row.tails]
        runs = {
            "TRL SFTTrainer": lambda: trl(config, alone, wanted.steps),
            "rankrag, one row an example": lambda: ours(config, encoder, alone, wanted.steps),
            "rankrag, shared-prefix rows": lambda: ours(config, encoder, shared, wanted.steps),
        }
        print(f"{len(examples)} examples, {torch.get_num_threads()} threads, bf16 {config.bf16}, {wanted.steps} steps")
        reference = None
        for name, run in runs.items():
            tokens, count, seconds = run()
            reference = reference or (tokens / seconds, count / seconds)
            print(
                f"{name:30} {tokens / seconds:8.1f} tokens/CPU-s ({tokens / seconds / reference[0]:.2f} x)   "
                f"{count / seconds:6.2f} examples/CPU-s ({count / seconds / reference[1]:.2f} x)",
                flush=True,
            )


def example_set(passages: int, questions: int) -> list[Example]:
    """Return ranking and answering examples over the beginnings of the example documents."""
    rng = random.Random(0)
    texts = {path.stem: path.read_text(encoding="utf-8").split() for path in sorted(EXAMPLES.rglob("*.md"))}
    found = []
    for name, words in list(texts.items())[:passages]:
        passage = Passage(name, " ".join(words[:WORDS]))
        for number in range(questions):
            asked = rng.choice(list(texts))
            question = Question(f"{name}/{number}", f"What is said of {asked} in the year {rng.randint(1500, 2000)}?")
            if number % 4 == 3:
                found.append(Example(DataKind.CONTEXT_QA, "s", question, (passage,), " ".join(words[40:46])))
            else:
                target = "True" if asked == name else "False"
                found.append(Example(DataKind.CONTEXT_RANKING, "s", question, (passage,), target))
    return found


def rows_of(encoder: PromptEncoder, examples: Sequence[Example], config: TrainConfig) -> list[Bundle]:
    """Return shared-prefix rows."""
    limits = {"max_tokens": 1024, "row_tokens": config.tokens_per_batch}
    return build_rows(encoder, examples, **limits, label_weight=1.0, answer_weight=1.0)


def ours(config: TrainConfig, encoder: PromptEncoder, bundles: list[Bundle], steps: int) -> tuple[int, int, float]:
    """Return tokens, examples and CPU-seconds of the measured steps of the RowTrainer."""
    laid = plan(
        bundles, tokens=config.tokens_per_batch, batches_per_step=1, examples_per_step=None, max_steps=steps + 1, seed=0
    )
    args = arguments(config, len(laid), bf16=bool(config.bf16), logs=None)
    args.save_strategy = "no"
    model = RowModel(load_model(config, start_of(config), bf16=bool(config.bf16)))
    data = Shares(laid, tokens=config.tokens_per_batch, pad_id=encoder.tokenizer.pad_token_id)
    true, false = encoder.contract.label_ids
    trainer = RowTrainer(model, args, data, config=config, loss=LossSettings((true, false)))
    seconds = timed(trainer)
    return sum(map(tokens_of, laid[1:])), sum(step.examples for step in laid[1:]), seconds


def trl(config: TrainConfig, alone: list[Bundle], steps: int) -> tuple[int, int, float]:
    """Return the same of TRL's SFTTrainer, whose batches have about as many tokens."""
    mean = sum(len(row) for (row,) in alone) / len(alone)
    batch = max(1, int(config.tokens_per_batch / mean))
    rows = [row for (row,) in alone]
    random.Random(0).shuffle(rows)
    rows = (rows * (1 + batch * (steps + 1) // len(rows)))[: batch * (steps + 1)]
    columns = {
        "input_ids": [[*row.prefix, *row.tails[0].ids, *row.tails[0].target] for row in rows],
        "completion_mask": [
            [0] * (len(row.prefix) + len(row.tails[0].ids)) + [1] * len(row.tails[0].target) for row in rows
        ],
    }
    args = SFTConfig(
        output_dir=config.out,
        per_device_train_batch_size=batch,
        max_steps=steps + 1,
        learning_rate=config.learning_rate,
        bf16=bool(config.bf16),
        completion_only_loss=True,
        max_length=None,
        gradient_checkpointing=False,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        logging_steps=1000,
        use_cpu=not torch.cuda.is_available(),
        train_sampling_strategy="sequential",
    )
    model = load_model(config, start_of(config), bf16=bool(config.bf16))
    tokenizer = load_tokenizer(config.model, None)
    trainer = SFTTrainer(model, args, train_dataset=Dataset.from_dict(columns), processing_class=tokenizer)
    seconds = timed(trainer)
    return sum(map(len, columns["input_ids"][batch:])), batch * steps, seconds


def timed(trainer: SFTTrainer | RowTrainer) -> float:
    """Train; return the CPU-seconds from the end of the first step to that of the last."""
    ends: list[float] = []
    record: Callable[[int, int], None] = lambda _done, _total: ends.append(time.process_time())  # noqa: E731
    trainer.add_callback(Progress(record))
    trainer.train()
    return ends[-1] - ends[0]


def tokens_of(step: Step) -> int:
    """Return the tokens of all examples of a step, a shared prefix counted once for each."""
    rows = [row for batch in step.batches for part in batch for row in part]
    return sum(len(row.prefix) + len(tail) for row in rows for tail in row.tails)


def start_of(config: TrainConfig) -> Start:
    """Return the base to start from."""
    return Start(config.model, config.model)


if __name__ == "__main__":
    main()
