"""The Hugging Face backend: any causal language model that transformers loads, ranking and answering."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import TextIteratorStreamer

from rankrag.contract import Contract, ScoreType, load_contract
from rankrag.cores import share_cores
from rankrag.devices import pick_device, pick_dtype
from rankrag.encoding import EncodedPrompt, PromptEncoder, default_contract
from rankrag.models import SamplingParams, packing, short_weights
from rankrag.models.attention import slice_attention
from rankrag.models.loading import load_weights
from rankrag.models.memory import in_halves
from rankrag.models.reading import PromptReader
from rankrag.models.stopping import cut, tidy
from rankrag.types import Prompt

COPIED = 6
"""Tokens guessed at a time: those that follow the last two tokens in the prompt, since answers copy from passages."""

COPIED_SHORT = short_weights.ROWS - 1
"""The same where a model writes with short weights: one token more is read with the guessed ones."""


class TransformersModel(PromptReader):
    """A causal language model in this process.

    Args:
        directory: a model directory, an adapter from `rankrag train` (merged into its base in memory), or a model id
            on the Hugging Face hub.
        device: "auto", "cpu", "cuda", "cuda:1", …
        dtype: "auto" (bfloat16 if the hardware has it), "float32", "bfloat16" or "float16".
        contract: how to prompt; by default the checkpoint's own, else one made from its tokenizer.
        score: what ranks; by default the contract's.
        tokens_per_batch: padded tokens of one forward pass (one prompt may exceed it). By default 1,024 on a CPU,
            whose caches hold no more (`make bench`), and 32,768 elsewhere. Halved when memory runs out.
        short_writing: write replies with the short weights of a prepared model, where it has some (`short_weights`).

    Raises:
        ModelError: the model or its tokenizer cannot be loaded.
        ContractError: a label is not one token, or the contract belongs to another tokenizer.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        device: str = "auto",
        dtype: str = "auto",
        contract: Contract | None = None,
        score: ScoreType | None = None,
        tokens_per_batch: int | None = None,
        short_writing: bool = True,
    ) -> None:
        where = pick_device(device)
        tokenizer, model = load_weights(str(directory), pick_dtype(dtype, where))
        model.to(where).eval()
        if where.type == "cpu":
            slice_attention(model)
        short = short_writing and short_weights.use_short_weights(model, Path(directory) / short_weights.FILE)
        self._copied = COPIED_SHORT if short else COPIED
        own = load_contract(Path(directory)) if Path(directory).is_dir() else None
        contract = contract or own or default_contract(tokenizer)
        contract = replace(contract, score=score or contract.score)
        positions = getattr(model.config, "max_position_embeddings", None) or contract.max_tokens
        self.encoder = PromptEncoder(tokenizer, replace(contract, max_tokens=min(contract.max_tokens, positions)))
        tokens = tokens_per_batch or (1024 if where.type == "cpu" else 32768)
        super().__init__(tokenizer, model, self.encoder.contract, where, tokens)

    def encode(self, prompts: Sequence[Prompt], *, reserve: int = 1) -> list[EncodedPrompt]:
        """Return the token ids of each prompt, leaving room for `reserve` tokens of a reply."""
        return self.encoder.encode(prompts, reserve=reserve)

    def choice_logprobs(self, prompts: Sequence[EncodedPrompt], choices: Sequence[str]) -> list[list[float]]:
        """Return the log-probability of each choice as the next token of each prompt, over the whole vocabulary."""
        return self.next_logprobs(prompts, self.encoder.label_ids(choices))

    def generate(self, prompts: Sequence[EncodedPrompt], params: SamplingParams) -> list[str]:
        """Return one continuation for each prompt, without the space around it."""
        texts = [""] * len(prompts)

        def written(batch: list[int]) -> list[tuple[int, str]]:
            inputs = self._inputs([prompts[i] for i in batch], params)
            output = self._generate(params, **inputs)[:, inputs["input_ids"].shape[1] :]
            return list(zip(batch, self.tokenizer.batch_decode(output, skip_special_tokens=True), strict=True))

        rows = packing.unshared(prompts)
        for batch in packing.batches(rows, self._budget, lambda row: len(row) + params.max_new_tokens):
            for place, text in in_halves([row.places[0] for row in batch], written, on_shortage=self._shrink):
                texts[place] = cut(text, params.stop).strip()
        return texts

    def stream(self, prompt: EncodedPrompt, params: SamplingParams) -> Iterator[str]:
        """Yield one continuation in pieces, as `generate` would return it."""
        inputs = self._inputs([prompt], params)
        streamer = TextIteratorStreamer(self.tokenizer, skip_prompt=True, skip_special_tokens=True)
        failure: list[BaseException] = []

        def work() -> None:
            try:
                in_halves([inputs], lambda one: [self._generate(params, **one[0], streamer=streamer)])
            except BaseException as error:
                failure.append(error)
                streamer.end()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        yield from tidy(streamer, params.stop)
        thread.join()
        if failure:
            raise failure[0]

    @torch.inference_mode()
    def _inputs(self, prompts: Sequence[EncodedPrompt], params: SamplingParams) -> dict[str, Any]:
        """Return prompts as transformers' `generate` takes them, with what makes it faster and changes no text.

        One prompt: the next tokens are guessed from its own text (`COPIED`). Several: the text that all begin with is
        read once for all calls. transformers cannot do both.
        """
        copies = len(prompts) == 1 and params.temperature == 0 and self._can_take_back(len(prompts[0]), params)
        first = prompts[0].segments[0]
        shares = self.states and not copies and self.can_share(prompts)
        root = first if shares and all(prompt.segments[0] == first for prompt in prompts) else ()
        rest = [prompt.ids[len(root) :] for prompt in prompts]
        # decoding needs padding on the left, but the shared root must stay first: padding goes between root and rest
        width = max(map(len, rest))
        ids = [[*root, *[self._pad_id] * (width - len(row)), *row] for row in rest]
        mask = [[1] * len(root) + [0] * (width - len(row)) + [1] * len(row) for row in rest]
        inputs = {
            "input_ids": torch.tensor(ids, device=self.device),
            "attention_mask": torch.tensor(mask, device=self.device),
        }
        if copies:
            return inputs | {"prompt_lookup_num_tokens": self._copied, "max_matching_ngram_size": 2}
        return inputs | ({"past_key_values": self._root(root).cache(self.model, len(prompts))} if root else {})

    def _can_take_back(self, length: int, params: SamplingParams) -> bool:
        """Whether the states of wrong guesses can be dropped: a sliding window that has moved on cannot go back."""
        return self.can_share([]) and length + params.max_new_tokens + self._copied <= self._window

    @torch.inference_mode()
    def _generate(self, params: SamplingParams, **inputs: Any) -> torch.Tensor:
        sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if params.temperature > 0:
            torch.manual_seed(params.seed)
            sampling = {"do_sample": True, "temperature": params.temperature, "top_p": params.top_p, "top_k": 0}
        if params.stop:
            sampling |= {"stop_strings": list(params.stop), "tokenizer": self.tokenizer}
        if params.not_first:
            sampling |= {"begin_suppress_tokens": self.encoder.label_ids((params.not_first,))}
        share_cores(self.device)
        ends = {*self.encoder.end_ids[-1:], self.tokenizer.eos_token_id} - {None}
        with short_weights.short_writing():
            output: torch.Tensor = self.model.generate(
                **inputs,
                **sampling,
                max_new_tokens=params.max_new_tokens,
                eos_token_id=sorted(ends),
                pad_token_id=self._pad_id,
            )
        return output
