"""The Hugging Face backend: any causal language model that transformers loads, ranking and answering."""

from __future__ import annotations

import copy
import inspect
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import TextIteratorStreamer

from rankrag.contract import Contract, ScoreType, load_contract, with_score
from rankrag.encoding import EncodedPrompt, PromptEncoder, default_contract
from rankrag.models import SamplingParams, layer_head, packing
from rankrag.models.devices import pick_device, pick_dtype
from rankrag.models.label_logits import choice_logprobs
from rankrag.models.loading import load_weights
from rankrag.models.memory import in_halves
from rankrag.models.packing import Row
from rankrag.models.state_cache import StateCache
from rankrag.models.states import NOTHING, Before, State
from rankrag.models.stopping import cut, tidy
from rankrag.types import Prompt, StateUse

After = Callable[[torch.Tensor], None]

COPIED = 6
"""Tokens that are guessed at a time, read off what follows the last two in the prompt: answers copy from passages."""


class TransformersModel:
    """A causal language model in this process.

    Args:
        directory: a model directory, an adapter as `rankrag train` writes it (merged into its base in memory), or the
            id of a model on the Hugging Face hub.
        device: "auto", "cpu", "cuda", "cuda:1", …
        dtype: "auto" (bfloat16 where the hardware has it), "float32", "bfloat16", "float16".
        contract: how to prompt; by default the checkpoint's own, else one made from its tokenizer.
        score: what ranks; by default what the contract says.
        tokens_per_batch: padded tokens of one forward pass, at most (one prompt may exceed it); by default 1,024 on a
            CPU, whose caches hold no more (`make bench`), and 16,384 elsewhere. Halved when memory runs out.

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
    ) -> None:
        self.device = pick_device(device)
        self.tokens_per_batch = tokens_per_batch or (1024 if self.device.type == "cpu" else 16384)
        self.tokenizer, self.model = load_weights(str(directory), pick_dtype(dtype, self.device))
        self.model.to(self.device).eval()
        own = load_contract(Path(directory)) if Path(directory).is_dir() else None
        contract = with_score(contract or own or default_contract(self.tokenizer), score)
        if contract.head is not None:
            layer_head.check_head(self.model, contract.head)
        positions = getattr(self.model.config, "max_position_embeddings", None) or contract.max_tokens
        contract = replace(contract, max_tokens=min(contract.max_tokens, positions))
        self.encoder = PromptEncoder(self.tokenizer, contract)
        self.contract: Contract = self.encoder.contract
        self.states: StateCache | None = None
        self._choice_ids: dict[tuple[str, ...], list[int]] = {self.contract.labels: list(self.contract.label_ids)}

    def choice_logprobs(self, prompts: Sequence[Prompt], choices: Sequence[str]) -> list[list[float]]:
        """Return the log-probability of each choice as the next token of each prompt, over the whole vocabulary."""
        ids = self._ids_of(tuple(choices))
        encoded = self.encoder.encode(prompts)
        found = self.shared_logprobs(encoded, ids) if self.can_share(encoded) else self.plain_logprobs(encoded, ids)
        return [row for _, row in sorted(found)]

    @property
    def state_use(self) -> StateUse | None:
        """How many passage states were wanted and found so far; None where `states`, the cache, is None."""
        return self.states.use if self.states else None

    @property
    def layers(self) -> int:
        """The number of layers."""
        return len(layer_head.layers_of(self.model))

    def head_log_odds(self, prompts: Sequence[Prompt]) -> list[float]:
        """Return what the contract's head makes of each prompt; nothing behind its layer is computed."""
        assert self.contract.head is not None  # `with_score` has seen to it
        short = copy.copy(self)
        short.model = layer_head.shortened(self.model, self.contract.head)
        encoded = self.encoder.encode(prompts)
        found = (
            short.shared_logprobs(encoded, [0, 1]) if self.can_share(encoded) else short.plain_logprobs(encoded, [0, 1])
        )
        return [odds - none for _, (odds, none) in sorted(found)]

    def layer_states(self, prompts: Sequence[Prompt], layers: Sequence[int]) -> tuple[list[list[float]], np.ndarray]:
        """Return the labels' log-probabilities of each prompt, and unit states after `layers`, from one pass."""
        encoded = self.encoder.encode(prompts)
        labels = list(self.contract.label_ids)
        states = np.zeros((len(prompts), len(layers), self.model.config.get_text_config().hidden_size), np.float16)
        with layer_head.watched(self.model, layers) as seen:

            def keep(ends: torch.Tensor) -> None:
                for number, layer in enumerate(layers):
                    last = layer_head.unit(seen[layer][ends[:, 1], ends[:, 2]])
                    states[ends[:, 0].cpu().numpy(), number] = last.cpu().numpy()

            shared = self.can_share(encoded)
            found = (self.shared_logprobs if shared else self.plain_logprobs)(encoded, labels, after=keep)
        return [row for _, row in sorted(found)], states

    def generate(self, prompts: Sequence[Prompt], params: SamplingParams) -> list[str]:
        """Return one continuation for each prompt, without the space around it."""
        encoded = self.encoder.encode(prompts, reserve=params.max_new_tokens)
        texts = [""] * len(prompts)

        def written(batch: list[int]) -> list[tuple[int, str]]:
            inputs = self._inputs([encoded[i] for i in batch], params)
            output = self._generate(params, **inputs)[:, inputs["input_ids"].shape[1] :]
            return list(zip(batch, self.tokenizer.batch_decode(output, skip_special_tokens=True), strict=True))

        for batch in self._batches(encoded, extra=params.max_new_tokens):
            for place, text in in_halves(batch, written, on_shortage=self._shrink):
                texts[place] = cut(text, params.stop).strip()
        return texts

    def stream(self, prompt: Prompt, params: SamplingParams) -> Iterator[str]:
        """Yield one continuation in pieces, as `generate` would return it."""
        (encoded,) = self.encoder.encode([prompt], reserve=params.max_new_tokens)
        inputs = self._inputs([encoded], params)
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

    def _ids_of(self, choices: tuple[str, ...]) -> list[int]:
        if choices not in self._choice_ids:
            self._choice_ids[choices] = self.encoder.label_ids(self.contract.format, choices)
        return self._choice_ids[choices]

    @property
    def _pad_id(self) -> int:
        found = self.tokenizer.pad_token_id
        return int(found if found is not None else self.tokenizer.eos_token_id or 0)

    def _batches(self, encoded: Sequence[EncodedPrompt], *, extra: int = 0) -> Iterator[list[int]]:
        """Yield places of prompts, longest first, so that each padded batch stays within the token budget."""
        order = sorted(range(len(encoded)), key=lambda i: -len(encoded[i]))
        while order:
            rows = max(1, self.tokens_per_batch // (len(encoded[order[0]]) + extra))
            yield order[:rows]
            order = order[rows:]

    def can_share(self, encoded: Sequence[EncodedPrompt]) -> bool:
        """Whether this architecture takes a mask and positions of ours, and every token may see its whole prompt."""
        config = self.model.config.get_text_config()
        window = getattr(config, "sliding_window", None) or math.inf
        return (
            "position_ids" in inspect.signature(self.model.forward).parameters
            and not getattr(self.model, "_is_stateful", False)
            and set(getattr(config, "layer_types", None) or ()) <= {"full_attention", "sliding_attention"}
            and max(map(len, encoded), default=0) <= window
        )

    def why_no_states(self) -> str:
        """Return why passages cannot be known from question to question; empty where they can."""
        if self.contract.format.layout == "question_first":
            return "the model reads the question first, so what it makes of a passage is another with every question"
        return "" if self.can_share([]) else f"no prefix is shared by {self.model.config.model_type} models"

    @torch.inference_mode()
    def shared_logprobs(
        self, encoded: Sequence[EncodedPrompt], choices: list[int], *, after: After = lambda _: None
    ) -> list[tuple[int, list[float]]]:
        """Return (place of the prompt, log-probabilities); what prompts have in common is computed once (`packing`).

        `after` each forward pass hears of (place, row, column) of the prompts' last tokens in it.
        """

        def scored(rows: list[Row]) -> list[tuple[int, list[float]]]:
            return self._row_logprobs(rows, choices, after)

        passes = self._passes(encoded)
        return [
            one for rows in passes for one in in_halves(rows, scored, split=packing.alone, on_shortage=self._shrink)
        ]

    def _passes(self, encoded: Sequence[EncodedPrompt]) -> Iterator[list[Row]]:
        """Yield rows that go through the model together: tails behind kept states, then what has to be read whole."""
        root, rows = packing.share(encoded)
        past = self._root(root)
        states, modules = self.states, self._modules
        kept: list[Row] = []
        fresh: list[Row] = []
        for row in rows:
            row.past = past
            known = states is not None and row.reusable and states.holds(past, row.prefix, modules)
            (kept if known else fresh).append(row)
        for batch in packing.batches(kept, self._budget, packing.tail_tokens):
            warm = []
            for row in batch:
                state = states.get(past, row.prefix, modules) if states else None
                if state is None:  # dropped since, for other states' sake or by another process
                    fresh.append(row)
                else:
                    warm.append(Row((), row.tails, row.places, state))
            if warm:
                yield warm
        yield from packing.batches(fresh, self._budget)

    def _root(self, ids: tuple[int, ...]) -> State:
        """Return the state of what all prompts begin with."""
        if not ids:
            return NOTHING
        if self.states and (known := self.states.get(NOTHING, ids, self._modules)):
            return known

        def read(work: list[tuple[int, ...]]) -> list[State]:
            before = Before([NOTHING], work)
            inputs = torch.tensor(work, device=self.device)
            self.model(inputs, past_key_values=before, use_cache=True, logits_to_keep=1)
            return self._kept(before)

        (state,) = in_halves([ids], read)
        return state

    def _budget(self) -> int:
        return self.tokens_per_batch

    def _shrink(self) -> None:
        """Take smaller batches from now on, and make room."""
        self.tokens_per_batch = max(1, self.tokens_per_batch // 2)
        if self.states:
            self.states.release()

    @property
    def _modules(self) -> int:
        return sum(1 for _ in self.model.modules())

    def _kept(self, before: Before) -> list[State]:
        """Return the states that a pass has made, which are in the cache now."""
        made = before.kept()
        if self.states:
            modules = self._modules
            for state in made:
                self.states.put(state, modules)
        return made

    def _row_logprobs(self, rows: list[Row], choices: list[int], after: After) -> list[tuple[int, list[float]]]:
        laid = packing.lay_out(rows, self._pad_id)
        before = Before(
            [row.past for row in rows], [row.prefix if self.states and row.reusable else () for row in rows]
        )
        unseen = torch.finfo(self.model.dtype).min
        mask = torch.zeros(laid.visible.shape, dtype=self.model.dtype).masked_fill_(~laid.visible, unseen)
        ends = torch.tensor(laid.ends, device=self.device)
        kept, column = torch.unique(ends[:, 2], return_inverse=True)
        found = choice_logprobs(
            self.model,
            choices,
            ends[:, 1],
            column,
            input_ids=laid.input_ids.to(self.device),
            attention_mask=mask.to(self.device),
            position_ids=laid.positions.to(self.device),
            past_key_values=before,
            logits_to_keep=kept,
            use_cache=True,
        )
        self._kept(before)
        after(ends)
        return list(zip(ends[:, 0].tolist(), found.tolist(), strict=True))

    @torch.inference_mode()
    def plain_logprobs(
        self, encoded: Sequence[EncodedPrompt], choices: list[int], *, after: After = lambda _: None
    ) -> list[tuple[int, list[float]]]:
        """Return the same, each prompt as a row of its own."""

        def scored(batch: list[int]) -> list[tuple[int, list[float]]]:
            ids = [encoded[i].ids for i in batch]
            width = max(map(len, ids))
            lengths = torch.tensor([len(row) for row in ids], device=self.device)
            positions = torch.arange(width, device=self.device)[None].expand(len(ids), width)
            ends, column = torch.unique(lengths - 1, return_inverse=True)
            found = choice_logprobs(
                self.model,
                choices,
                torch.arange(len(ids), device=self.device),
                column,
                input_ids=torch.tensor([row + [self._pad_id] * (width - len(row)) for row in ids], device=self.device),
                attention_mask=(positions < lengths[:, None]).long(),
                position_ids=positions,
                logits_to_keep=ends,
                use_cache=False,
            )
            after(torch.stack([torch.tensor(batch), torch.arange(len(batch)), lengths.cpu() - 1], dim=1))
            return list(zip(batch, found.tolist(), strict=True))

        batches = self._batches(encoded)
        return [row for batch in batches for row in in_halves(batch, scored, on_shortage=self._shrink)]

    @torch.inference_mode()
    def _inputs(self, prompts: Sequence[EncodedPrompt], params: SamplingParams) -> dict[str, Any]:
        """Return prompts to write from as `generate` takes them, with what makes it quicker and changes no text.

        One prompt: the next tokens are guessed from what it holds (`COPIED`). Several: the text that all begin with is
        read once for all calls; padding stands behind it, on the left of the rest. transformers does not do both.
        """
        copies = len(prompts) == 1 and params.temperature == 0 and self._can_take_back(len(prompts[0]), params)
        first = prompts[0].segments[0]
        shared = self.can_share(prompts) and all(prompt.segments[0] == first for prompt in prompts)
        root = first if shared and self.states and not copies else ()
        rest = [prompt.ids[len(root) :] for prompt in prompts]
        width = max(map(len, rest))
        ids = [[*root, *[self._pad_id] * (width - len(row)), *row] for row in rest]
        mask = [[1] * len(root) + [0] * (width - len(row)) + [1] * len(row) for row in rest]
        inputs = {
            "input_ids": torch.tensor(ids, device=self.device),
            "attention_mask": torch.tensor(mask, device=self.device),
        }
        if copies:
            return inputs | {"prompt_lookup_num_tokens": COPIED, "max_matching_ngram_size": 2}
        return inputs | ({"past_key_values": self._root(root).cache(self.model.config, len(prompts))} if root else {})

    def _can_take_back(self, length: int, params: SamplingParams) -> bool:
        """Whether the states of wrong guesses can be dropped: those of a window that has moved on cannot."""
        window = getattr(self.model.config.get_text_config(), "sliding_window", None) or math.inf
        return self.can_share([]) and length + params.max_new_tokens + COPIED <= window

    @torch.inference_mode()
    def _generate(self, params: SamplingParams, **inputs: Any) -> torch.Tensor:
        sampling: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if params.temperature > 0:
            torch.manual_seed(params.seed)
            sampling = {"do_sample": True, "temperature": params.temperature, "top_p": params.top_p, "top_k": 0}
        if params.stop:
            sampling |= {"stop_strings": list(params.stop), "tokenizer": self.tokenizer}
        ends = {*self.encoder.end_ids[-1:], self.tokenizer.eos_token_id} - {None}
        output: torch.Tensor = self.model.generate(
            **inputs,
            **sampling,
            max_new_tokens=params.max_new_tokens,
            eos_token_id=sorted(ends),
            pad_token_id=self._pad_id,
        )
        return output
