"""What short weights keep of an answer, and what they save: python benchmarks/writing.py MODEL ANSWERS

MODEL is a directory that rankrag prepared, ANSWERS what `rankrag ask --questions … --out ANSWERS` wrote. Each answer's
words are given one after the other (teacher forcing), and the likeliest next token of every place is compared with that
of the weights in 16 bits. The times are CPU seconds of the process, so other load on the machine counts little.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from contextlib import nullcontext
from pathlib import Path
from statistics import median

import torch
from transformers.cache_utils import DynamicCache

from rankrag.models.short_weights import ROWS, short_writing
from rankrag.models.transformers import TransformersModel
from rankrag.templates import answer_prompt
from rankrag.types import Passage, Question

TIMED = 4
"""Passes of each width that are timed in 16 bits for one answer."""


class Forced:
    """The answers of a model, given token by token behind their prompts."""

    def __init__(self, model: TransformersModel) -> None:
        self.model, self.seconds = model, defaultdict[str, list[float]](list)

    def compared(self, row: dict[str, object], passages: list[Passage]) -> list[bool]:
        """Return for each token of an answer whether short weights find it where 16 bits do."""
        question = Question("", str(row["question"]))
        prompt = answer_prompt(self.model.contract.format, question, passages)
        (encoded,) = self.model.encode([prompt], reserve=128)
        text = self.model.tokenizer(row["text"], add_special_tokens=False)["input_ids"]
        start = DynamicCache(config=self.model.model.config)
        self._pass("prompt", encoded.ids[:-1], start)
        given = [encoded.ids[-1], *text]
        exact = self._pass("answer", given, self._copy(start))
        for width in (1, ROWS, 7):
            self._in_steps(f"16 bits, {width}", given[: TIMED * width], width, start, short=False)
        self._in_steps("short, 1", given[:TIMED], 1, start, short=True)
        found = self._in_steps(f"short, {ROWS}", given, ROWS, start, short=True)
        return (found == exact).tolist()

    def _in_steps(self, name: str, given: list[int], width: int, start: DynamicCache, *, short: bool) -> torch.Tensor:
        cache = self._copy(start)
        with short_writing() if short else nullcontext():
            return torch.cat(
                [self._pass(name, given[i : i + width], cache, width) for i in range(0, len(given), width)]
            )

    def _pass(self, name: str, ids: list[int], cache: DynamicCache, width: int = 0) -> torch.Tensor:
        began = time.process_time()
        kept = 1 if name == "prompt" else 0  # 0 keeps all
        logits = self.model.model(input_ids=torch.tensor([ids]), past_key_values=cache, logits_to_keep=kept).logits[0]
        if not width or len(ids) == width:
            self.seconds[name].append(time.process_time() - began)
        return logits.argmax(-1)

    def _copy(self, cache: DynamicCache) -> DynamicCache:
        new = DynamicCache(config=self.model.model.config)
        for number, layer in enumerate(cache.layers):
            new.update(layer.keys, layer.values, number)
        return new


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("answers", type=Path)
    parser.add_argument("--answered", type=int, default=8)
    options = parser.parse_args()
    model = TransformersModel(options.model, device="cpu")
    forced, same = Forced(model), list[bool]()
    rows = [json.loads(line) for line in options.answers.read_text("utf-8").splitlines()]
    rows = [row for row in rows if not row["abstained"]][:: max(1, len(rows) // options.answered)]
    with torch.inference_mode():
        for row in rows[: options.answered]:
            contexts = [Passage(c["id"], c["text"], c.get("title") or "") for c in row["contexts"]]
            found = forced.compared(row, contexts)
            same += found
            print(f"{sum(found)} of {len(found)} tokens: {row['question'][:60]}", flush=True)
    print(f"{sum(same)} of {len(same)} tokens are the same ({sum(same) / len(same):.1%})")
    for name, seconds in forced.seconds.items():
        print(f"{name:12} {1000 * median(seconds):8.0f} ms of CPU")


if __name__ == "__main__":
    main()
