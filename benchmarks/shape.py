"""Speed at the shape of Llama-3-8B on one GPU: ranking, answering and training, ours and what people use.

The weights are random and made on the GPU in bfloat16. The vocabulary has Llama-3's 128,256 words; tokens come from
rankrag-mini's tokenizer or from `--tokenizer`. Ranking is measured as in `rerank.py`, training as in `training.py`, and
answering against transformers' `generate`. A way that breaks is named with its error. After each part all results so
far are written to FOLDER/performance-8b.json and, as a page, performance-8b.md. A part that would exceed `--budget` is
left out and named.

    python benchmarks/shape.py --out FOLDER
    python benchmarks/shape.py --out FOLDER --tiny      # the same code on a CPU, in a minute
    python benchmarks/shape.py --out FOLDER --page      # the page alone, from the figures in FOLDER
"""

from __future__ import annotations

import argparse
import gc
import json
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from harness import ROOT, forget_peak, gemm_rate, machine, now, peak
from rerank import Case, Measured, measure, pairs_of, table, work
from rivals import KNOWN, RIVALS, Scorer, loading
from shape_page import NEW_TOKENS, PASSAGES, SHORT, Answered, Trained, write
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

import training as steps_of
from rankrag.config.training import TrainConfig
from rankrag.encoding import PromptEncoder, default_contract
from rankrag.errors import first_line
from rankrag.models import SamplingParams
from rankrag.models.prepared import prepare_model
from rankrag.models.state_cache import StateCache
from rankrag.models.transformers import TransformersModel
from rankrag.parity.compare import reference
from rankrag.templates import answer_prompt, ranking_prompt
from rankrag.training.checks import contract_of
from rankrag.training.rows import Row
from rankrag.types import Passage, Prompt, Question

LLAMA_8B = {
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
}
TINY = LLAMA_8B | {
    "vocab_size": 60000,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
LONG = 300
"""Words of a longer passage; one of `SHORT` words has about 150 tokens."""
SOME = ("rankrag", "careful", "plain", "sentence-transformers")
AT_ONCE, ALONE = 16, 2
"""Questions that are answered together, and one after the other."""
WARM_UP, REPEATS = 1, 3
FULL_LAYERS = 12
"""Layers of full training: all 32 with AdamW in float32 take 128 GB without activations."""


class Bench:
    """What is measured with, and what was found so far."""

    def __init__(self, wanted: argparse.Namespace) -> None:
        self.wanted = wanted
        self.device = "cpu" if wanted.tiny else "cuda"
        self.shape = TINY if wanted.tiny else LLAMA_8B
        self.tokenizer = AutoTokenizer.from_pretrained(wanted.tokenizer or prepare_model("rankrag-mini-base", print))
        contract = default_contract(self.tokenizer)
        self.contract = replace(contract, passage_tokens=2048, max_tokens=4096)
        sizes = (64, 128) if wanted.tiny else (4096, 14336)
        self.gemm = gemm_rate(*sizes, self.device)
        self.began = time.monotonic()
        self.facts: dict[str, Any] = {
            "command": shlex.join(["python", "benchmarks/shape.py", *sys.argv[1:]]),
            "machine": machine() if wanted.tiny else torch.cuda.get_device_name(),
            "versions": versions(),
            "shape": self.shape,
            "gemm_tflops": self.gemm / 1e12,
            "rerank": [],
            "answers": [],
            "training": [],
            "left_out": [],
        }

    def part(self, name: str, expected: float, run: Callable[[], None]) -> None:
        """Run a part unless it would exceed the budget; write the results."""
        passed = time.monotonic() - self.began
        if passed + expected > self.wanted.budget:
            self.facts["left_out"].append(f"{name} (no time left)")
        else:
            self.say(f"{name} …")
            try:
                run()
            except Exception as error:  # one part must not lose the others
                self.facts["left_out"].append(f"{name} (failed: {reason(error)})")
                self.say(f"{name} failed: {reason(error)}")
        tidy(self.device)
        self.facts["seconds"] = round(time.monotonic() - self.began, 1)
        write(self.facts, self.wanted.out)

    def say(self, what: str) -> None:
        """Print a step with the time since the start."""
        print(f"[{time.monotonic() - self.began:6.1f} s] {what}", flush=True)

    def causal(self, layers: int | None = None, dtype: torch.dtype = torch.bfloat16, attention: str = "sdpa") -> Any:
        """Return a random causal model, made on its device."""
        shape = self.shape | ({"num_hidden_layers": layers} if layers else {})
        torch.manual_seed(0)
        with torch.device(self.device):
            config = AutoConfig.for_model("llama", **shape)
            made = AutoModelForCausalLM.from_config(config, dtype=dtype, attn_implementation=attention)
        return made.eval()

    @contextmanager
    def folder(self, make: Callable[..., Any]) -> Iterator[str]:
        """Yield a model folder whose loading returns what `make` returns."""
        with loading(make) as folder:
            AutoConfig.for_model("llama", **self.shape).save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)
            yield folder

    def open(self, causal: Any, layout: str) -> TransformersModel:
        """Return our model class around the random model."""
        contract = replace(self.contract, format=replace(self.contract.format, layout=layout))
        with self.folder(lambda **_: causal) as folder:
            return TransformersModel(folder, device=self.device, dtype="bfloat16", contract=contract)


def main() -> None:
    """Measure, print, and write figures and page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    parser.add_argument("--tokenizer", help="folder of a tokenizer with a chat template; by default rankrag-mini's")
    parser.add_argument("--n", type=int, default=100, help="passages to rank")
    parser.add_argument("--train-tokens", type=int, help="tokens of a training batch; by default what fits the GPU")
    parser.add_argument("--steps", type=int, default=5, help="measured steps of each way of training")
    parser.add_argument("--budget", type=float, default=175, help="seconds for all, but for imports")
    parser.add_argument("--compiled", action="store_true", help="also train with compiled layers, which takes a minute")
    parser.add_argument("--tiny", action="store_true", help="a tiny model on the CPU, to see that all works")
    parser.add_argument("--page", action="store_true", help="only make the page again from the figures in --out")
    wanted = parser.parse_args()
    wanted.out.mkdir(parents=True, exist_ok=True)
    if wanted.page:
        facts = json.loads((wanted.out / "performance-8b.json").read_text(encoding="utf-8"))
        write(facts, wanted.out)
        return
    bench = Bench(wanted)
    bench.say(f"{bench.facts['machine']}, matrix products {bench.facts['gemm_tflops']:.3g} TFLOP/s")
    ranking(bench)
    lora = training(bench)
    bench.part("rerank, long passages", 35, lambda: rerank(bench, bench.causal(), "passage_first", LONG, SOME, 2))
    if wanted.compiled:
        bench.part("LoRA steps, compiled", 60, lambda: train(bench, "lora", *lora, compiled=True))
    bench.say(f"left out: {'; '.join(bench.facts['left_out']) or 'nothing'}")
    print(f"\n{(wanted.out / 'performance-8b.md').read_text(encoding='utf-8')}", flush=True)


def ranking(bench: Bench) -> None:
    """Measure one model in memory: rank with the passage first, answer, rank with the question first."""
    causal = bench.causal()
    bench.say("model made")
    bench.part("rerank, passage first", 40, lambda: rerank(bench, causal, "passage_first", SHORT, ("",), REPEATS))
    bench.part("answers", 25, lambda: answers(bench, causal))
    bench.part("rerank, question first", 15, lambda: rerank(bench, causal, "question_first", SHORT, SOME, REPEATS))


def rerank(bench: Bench, causal: Any, layout: str, words: int, ways: tuple[str, ...], repeats: int) -> None:
    """Measure the ways whose names begin with these words."""
    model = bench.open(causal, layout)
    case = Case("Llama-3-8B shape" if not bench.wanted.tiny else "tiny", layout, bench.wanted.n, words)
    pairs = pairs_of(case)
    prompts = [ranking_prompt(model.contract.format, question, passage) for question, passage in pairs]
    tokens = sum(map(len, model.encoder.encode(prompts)))
    alone = [true - false for true, false in reference(model, prompts).rows]
    bench.say(f"{tokens / len(pairs):.0f} tokens a pair; scored one at a time")
    scorers: dict[str, Scorer] = {}
    rows: list[Measured] = []
    for name in (name for name in RIVALS if name.startswith(ways)):
        if name == KNOWN and model.why_no_states():
            continue
        try:
            scorers[name] = RIVALS[name](model)
        except Exception as error:  # not installed, or not for these versions
            rows.append(Measured(case, name, [], [], [], 0.0, 0.0, 0.0, None, reason(error)))
        else:
            bench.say(f"  opened {name}")
    ideal = work(model) * tokens / bench.gemm
    rows = measure(case, scorers, pairs, alone, repeats, ideal, device=bench.device, warm_up=WARM_UP) + rows
    spread = statistics.pstdev(alone)
    bench.facts["rerank"].append(
        {"tokens_a_pair": tokens / len(pairs), "spread_of_scores": spread, "rows": [asdict(row) for row in rows]}
    )
    print(table(rows), flush=True)


def answers(bench: Bench, causal: Any) -> None:
    """Measure answers of a fixed number of tokens from five passages, one question at a time and many at once."""
    model = bench.open(causal, "passage_first")
    model.states = StateCache()
    prompts = answer_prompts(model)
    params = SamplingParams(max_new_tokens=NEW_TOKENS)

    def ours(batch: list[Prompt]) -> None:
        model.generate(model.encode(batch, reserve=NEW_TOKENS), params)

    def theirs(batch: list[Prompt]) -> None:
        rows = [encoded.ids for encoded in model.encoder.encode(batch, reserve=NEW_TOKENS)]
        width = max(map(len, rows))
        pad = model.tokenizer.pad_token_id
        ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows], device=model.device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=model.device)
        end = model.tokenizer.eos_token_id
        output = model.model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            eos_token_id=end,
            pad_token_id=pad,
        )
        model.tokenizer.batch_decode(output[:, width:], skip_special_tokens=True)

    cases = [[[prompt] for prompt in prompts[:ALONE]], [prompts]]
    for batches in cases:
        how = "one at a time" if len(batches) > 1 else f"{len(prompts)} at once"
        for name, run in (("rankrag", ours), ("transformers generate", theirs)):
            found = timed_answers(bench, model, f"{name}, {how}", run, batches)
            bench.facts["answers"].append(asdict(found))
            bench.say(f"  {found}")


def answer_prompts(model: TransformersModel) -> list[Prompt]:
    """Return prompts of example questions with five passages each, windows of the example documents."""
    with (ROOT / "examples" / "questions.jsonl").open(encoding="utf-8") as lines:
        texts = [json.loads(line)["question"] for line in lines][:AT_ONCE]
    passages: list[Passage] = [passage for _, passage in pairs_of(Case("", "", PASSAGES * len(texts), SHORT))]
    questions = [Question(str(number), text) for number, text in enumerate(texts)]
    form = model.contract.format
    return [answer_prompt(form, question, passages[i :: len(texts)]) for i, question in enumerate(questions)]


def timed_answers(
    bench: Bench, model: TransformersModel, name: str, run: Callable[[list[Prompt]], None], batches: list[list[Prompt]]
) -> Answered:
    """Return a way's figures."""
    lengths = [len(e) for batch in batches for e in model.encoder.encode(batch, reserve=NEW_TOKENS)]
    new_tokens, passes, seconds, memory = 0, 0, [], 0.0
    generate = model.model.generate

    def counted(**options: Any) -> torch.Tensor:
        nonlocal new_tokens
        output: torch.Tensor = generate(**options)
        new_tokens += output[:, options["input_ids"].shape[1] :].numel()
        return output

    def count(*_: Any) -> None:
        nonlocal passes
        passes += 1

    handle = model.model.register_forward_pre_hook(count)
    model.model.generate = counted
    failed = ""
    try:
        for number in range(WARM_UP + REPEATS):
            new_tokens = passes = 0
            before = forget_peak(bench.device)
            began = now(bench.device)
            for batch in batches:
                run(batch)
            taken = now(bench.device) - began
            if number >= WARM_UP:
                seconds.append(taken)
                memory = max(memory, peak(bench.device) - before)
    except Exception as error:  # a rival's own error must not lose the others' figures
        failed = reason(error)
    finally:
        handle.remove()
        del model.model.generate
    mean = sum(lengths) // len(lengths)
    return Answered(name, len(lengths), mean, seconds, new_tokens, passes, memory, failed)


def training(bench: Bench) -> tuple[int, int]:
    """Measure LoRA steps at the whole shape, and full steps with fewer layers; return LoRA's layers and tokens."""
    gib = 100.0 if bench.wanted.tiny else torch.cuda.get_device_properties(0).total_memory / 2**30
    tokens = bench.wanted.train_tokens or (6144 if gib > 100 else 3072)
    layers = bench.shape["num_hidden_layers"]
    few = min(int(layers), FULL_LAYERS if gib > 100 else FULL_LAYERS // 3)
    bench.part("LoRA steps", 35, lambda: train(bench, "lora", int(layers), tokens))
    bench.part("steps of all weights", 30, lambda: train(bench, "full", few, tokens))
    return int(layers), tokens


def train(bench: Bench, method: str, layers: int, tokens: int, *, compiled: bool = False) -> None:
    """Measure training steps of the same examples in rows that share a passage, in rows of one, and with TRL.

    Where TRL does not run, transformers' own Trainer is measured. `compiled` measures ours alone, with compiled layers.
    """

    def make(dtype: torch.dtype, attn_implementation: str, **_: Any) -> Any:
        return bench.causal(layers, dtype, attn_implementation).train()

    with bench.folder(make) as folder, tempfile.TemporaryDirectory() as out:
        config = TrainConfig(model=folder, blend="", out=out, tokens_per_batch=tokens, method=method, **steps_of.PLAIN)
        encoder = PromptEncoder(bench.tokenizer, contract_of(config, bench.tokenizer, ""))
        shared = steps_of.rows_of(encoder, steps_of.example_set(240, 4), config)
        alone = [Row(row.prefix, [tail]) for row in shared for tail in row.tails]
        count = bench.wanted.steps
        ways: dict[str, Callable[[], Any]] = {
            "rankrag, shared-prefix rows": lambda: steps_of.ours(config, encoder, shared, count),
            "rankrag, one row an example": lambda: steps_of.ours(config, encoder, alone, count),
            "TRL SFTTrainer": lambda: steps_of.trl(config, alone, count),
            "transformers Trainer": lambda: steps_of.plain_trainer(config, alone, count),
        }
        parameters = sum(p.numel() for p in torch.nn.Module.parameters(meta(bench, layers)))
        if compiled:
            config = config.model_copy(update={"compile": True})
            ways = {f"{name}, compiled": run for name, run in list(ways.items())[:1]}
        trl_failed = False
        for name, run in ways.items():
            if name == "transformers Trainer" and not trl_failed:
                continue  # it stands in for TRL
            tidy(bench.device)
            before = forget_peak(bench.device)
            try:
                found = run()
            except Exception as error:  # one way must not lose the others
                row = Trained(name, method, layers, parameters, [], [], [], 0.0, reason(error))
                trl_failed = name.startswith("TRL")
            else:
                memory = peak(bench.device) - before
                row = Trained(name, method, layers, parameters, *asdict(found).values(), memory)
            bench.facts["training"].append({"tokens_a_batch": tokens, **asdict(row)})
            write(bench.facts, bench.wanted.out)
            bench.say(f"  {row}")


def meta(bench: Bench, layers: int) -> Any:
    """Return the model without memory for its weights."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(
            AutoConfig.for_model("llama", **(bench.shape | {"num_hidden_layers": layers}))
        )


def tidy(device: str) -> None:
    """Release memory that is no longer used."""
    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()


def reason(error: Exception) -> str:
    """Return an error in one line, with its type."""
    return f"{type(error).__name__}: {first_line(error)[:300]}"


def versions() -> dict[str, str]:
    """Return the version of each package; "-" if it is not installed."""
    found = {}
    for name in ("torch", "transformers", "sentence-transformers", "FlagEmbedding", "trl", "peft", "accelerate"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "-"
    return found


if __name__ == "__main__":
    main()
