"""Ways to score ranking prompts: ours, and what people use today, with the same weights and the same words.

A rival is a function from a model to a scorer; each entry of `RIVALS` is a row of the benchmark. A function loads and
warms up everything before it returns the scorer, so only scoring is timed.
"""

from __future__ import annotations

import contextlib
import copy
import io
import tempfile
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import torch
from transformers import AutoModelForCausalLM

from rankrag.export.template import bordered
from rankrag.models.state_cache import StateCache
from rankrag.models.transformers import TransformersModel
from rankrag.parity.paths import bfloat16
from rankrag.rerank import judge
from rankrag.templates import passage_text, ranking_prompt
from rankrag.types import Passage, Question

Pairs = list[tuple[Question, Passage]]
Scorer = Callable[[Pairs], list[float]]
"""From pairs to log-odds, in their order."""

BATCH = 16
KNOWN = "rankrag, passages known"


def rankrag(model: TransformersModel) -> Scorer:
    """Return what `rankrag rerank` does: prefix and tails."""
    return lambda pairs: [j.log_odds for j in judge(model, pairs)]


def in_bfloat16(model: TransformersModel) -> Scorer:
    """Return the same with layers in 16 bits, as `--dtype auto` does if the processor multiplies them."""
    half = bfloat16(model)
    return lambda pairs: [j.log_odds for j in judge(half, pairs)]


class PassagesKnown:
    """What `rankrag rerank` does with passages known from an earlier question: their exact states are kept.

    The cache may exceed the default of 1 GiB, so that it holds all passages of a case.
    """

    def __init__(self, model: TransformersModel) -> None:
        self._model = copy.copy(model)
        self.forget()

    def __call__(self, pairs: Pairs) -> list[float]:
        """Return the log-odds of pairs."""
        return [j.log_odds for j in judge(self._model, pairs)]

    def ask_before(self, pairs: Pairs) -> None:
        """Ask another question about the same passages."""
        self.forget()
        self([(Question("earlier", "Which towns are named, and what happened there?"), p) for _, p in pairs])

    def forget(self) -> None:
        """Forget all passages."""
        self.states = self._model.states = StateCache(memory_bytes=1 << 36)


def row_for_each(model: TransformersModel) -> Scorer:
    """Return our scoring of models that cannot share prefixes: sorted padded batches, the head at last tokens only."""

    def score(pairs: Pairs) -> list[float]:
        encoded, labels = model.encoder.encode(_prompts(model, pairs)), list(model.contract.label_ids)
        return [true - false for true, false in model.next_logprobs(encoded, labels, sharing=False)]

    return score


def plain_loop(model: TransformersModel) -> Scorer:
    """Return the usual loop: batches in order, padded on the left, logits for every position and word."""

    @torch.inference_mode()
    def score(pairs: Pairs) -> list[float]:
        found = []
        for ids, mask in _batches(model, _ids(model, pairs)):
            found += _odds(model, model.model(input_ids=ids, attention_mask=mask).logits[:, -1])
        return found

    return score


def careful_loop(model: TransformersModel) -> Scorer:
    """Return a careful loop: sorted by length, logits of the last position only, no cache."""

    @torch.inference_mode()
    def score(pairs: Pairs) -> list[float]:
        rows = _ids(model, pairs)
        order = sorted(range(len(rows)), key=lambda i: -len(rows[i]))
        found: list[float] = []
        for ids, mask in _batches(model, [rows[i] for i in order]):
            output = model.model(input_ids=ids, attention_mask=mask, logits_to_keep=1, use_cache=False)
            found += _odds(model, output.logits[:, -1])
        return [score for _, score in sorted(zip(order, found, strict=True))]

    return score


@contextlib.contextmanager
def loading(make: Callable[..., Any]) -> Iterator[str]:
    """Yield a folder with a tokenizer and a configuration; loading any model then returns what `make` returns.

    So rivals use exactly our weights, and none are written.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        patch.object(AutoModelForCausalLM, "from_pretrained", lambda *_, **options: make(**options)),
    ):
        yield folder


def cross_encoder(model: TransformersModel) -> Scorer:
    """Return sentence-transformers' CrossEncoder, as `rankrag export --to sentence-transformers` makes it."""
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.cross_encoder.modules import LogitScore

    with loading(lambda **_: model.model) as folder:
        model.model.config.save_pretrained(folder)
        bordered(model.tokenizer, model.contract).save_pretrained(folder)
        backbone: Any = Transformer(folder, transformer_task="text-generation")
    modules = [backbone, LogitScore(*model.contract.label_ids)]
    rival: Any = CrossEncoder(modules=modules, device=str(model.device), activation_fn=torch.nn.Identity())

    def score(pairs: Pairs) -> list[float]:
        texts = [(question.text, passage_text(passage)) for question, passage in pairs]
        found: list[float] = rival.predict(texts, batch_size=32, show_progress_bar=False).tolist()
        return found

    return score


def flag_embedding(model: TransformersModel) -> Scorer:
    """Return FlagEmbedding's FlagLLMReranker, our instruction as its prompt.

    It joins question, passage and prompt in its own order and reads one logit. So its scores differ from ours; its
    work is the same within a few tokens. `ImportError` if it is not installed.
    """
    from FlagEmbedding import FlagLLMReranker

    with loading(lambda **_: model.model) as folder:
        model.model.config.save_pretrained(folder)
        model.tokenizer.save_pretrained(folder)
        rival = FlagLLMReranker(folder, use_fp16=False, devices=[str(model.device)], max_length=4096)
    rival.stop_self_pool = lambda: None  # which moves the model, ours too, to the CPU when the reranker is dropped
    fixed = " ".join(segment.text for segment in _prompts(model, [(Question("", ""), Passage("", ""))])[0])

    def score(pairs: Pairs) -> list[float]:
        with contextlib.redirect_stderr(io.StringIO()):  # its bars
            found = rival.compute_score(
                [(q.text, passage_text(p)) for q, p in pairs], batch_size=BATCH, prompt=fixed, max_length=4096
            )
        return [float(value) for value in found]

    return score


def qwen3_recipe(model: TransformersModel) -> Scorer:
    """Return the code of Qwen3-Reranker's model card, rewritten for batches instead of all pairs at once.

    It puts prefix and suffix ids around the tokenised pair, pads on the left, computes all logits, and takes the
    log-softmax over the two labels at the last position.
    """

    @torch.inference_mode()
    def score(pairs: Pairs) -> list[float]:
        rows, found = _ids(model, pairs), []
        tokenizer = model.tokenizer
        tokenizer.padding_side = "left"
        for start in range(0, len(rows), BATCH):
            inputs = tokenizer.pad({"input_ids": rows[start : start + BATCH]}, padding=True, return_tensors="pt")
            logits = model.model(**inputs.to(model.device)).logits[:, -1, :]
            both = torch.stack([logits[:, model.contract.label_ids[1]], logits[:, model.contract.label_ids[0]]], dim=1)
            logprobs = torch.nn.functional.log_softmax(both.float(), dim=1)
            found += (logprobs[:, 1] - logprobs[:, 0]).tolist()
        return found

    return score


def generate_one(model: TransformersModel) -> Scorer:
    """Return `generate(max_new_tokens=1)` with the logits of its only step."""

    @torch.inference_mode()
    def score(pairs: Pairs) -> list[float]:
        found = []
        for ids, mask in _batches(model, _ids(model, pairs)):
            output = model.model.generate(
                input_ids=ids,
                attention_mask=mask,
                max_new_tokens=1,
                do_sample=False,
                pad_token_id=model._pad_id,
                output_logits=True,
                return_dict_in_generate=True,
            )
            found += _odds(model, output.logits[0])
        return found

    return score


RIVALS: dict[str, Callable[[TransformersModel], Scorer]] = {
    "rankrag": rankrag,
    KNOWN: PassagesKnown,
    "rankrag, bfloat16": in_bfloat16,
    "rankrag, a row for each prompt": row_for_each,
    "careful Hugging Face loop": careful_loop,
    "plain Hugging Face loop": plain_loop,
    "sentence-transformers CrossEncoder": cross_encoder,
    "FlagEmbedding FlagLLMReranker": flag_embedding,
    "recipe of Qwen3-Reranker": qwen3_recipe,
    "generate(max_new_tokens=1)": generate_one,
}
OTHER_SCORES = {"FlagEmbedding FlagLLMReranker"}
"""Whose scores are not meant to be ours."""


def _prompts(model: TransformersModel, pairs: Pairs) -> list:
    return [ranking_prompt(model.contract.format, question, passage) for question, passage in pairs]


def _ids(model: TransformersModel, pairs: Pairs) -> list[list[int]]:
    return [encoded.ids for encoded in model.encoder.encode(_prompts(model, pairs))]


def _batches(model: TransformersModel, rows: list[list[int]]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    for start in range(0, len(rows), BATCH):
        batch = rows[start : start + BATCH]
        width = max(map(len, batch))
        ids = [[model._pad_id] * (width - len(row)) + row for row in batch]
        mask = [[0] * (width - len(row)) + [1] * len(row) for row in batch]
        yield torch.tensor(ids, device=model.device), torch.tensor(mask, device=model.device)


def _odds(model: TransformersModel, logits: torch.Tensor) -> list[float]:
    true, false = model.contract.label_ids
    found: list[float] = (logits[:, true] - logits[:, false]).float().tolist()
    return found
