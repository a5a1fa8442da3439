"""Reading prompts: forward passes of a causal language model that say what comes next, reading nothing twice.

A call goes through `packing` (which prompts share what), `state_cache` (what is known from earlier questions) and
`states` (how known text is put before rows), then through the model in batches that fit.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from rankrag.contract import Contract
from rankrag.cores import share_cores
from rankrag.encoding import EncodedPrompt
from rankrag.models import ModelInfo, packing
from rankrag.models.label_logits import choice_logprobs
from rankrag.models.memory import in_halves
from rankrag.models.packing import Layout, SharedRow
from rankrag.models.state_cache import StateCache
from rankrag.models.states import NOTHING, Before, State

GPU_TIMES = 32
"""A GPU takes as long for one short prompt, or for one token of one reply, as for this many together."""


class PromptReader:
    """A model and its tokenizer on a device; `tokens` bounds one pass, `states` keeps passage states unless None."""

    def __init__(self, tokenizer: Any, model: Any, contract: Contract, device: torch.device, tokens: int) -> None:
        self.tokenizer = tokenizer
        self.model = model
        self.contract = contract
        self.device = device
        self.tokens_per_batch = tokens
        self.states: StateCache | None = None

    @property
    def info(self) -> ModelInfo:
        """Batch size and kept states, as of now."""
        return ModelInfo(
            batch_multiplier=1 if self.device.type == "cpu" else GPU_TIMES,
            states=self.states.use if self.states else None,
        )

    def can_share(self, encoded: Sequence[EncodedPrompt]) -> bool:
        """Whether prompts can share rows: the model takes our mask and positions, and a token sees its whole prompt."""
        config = self.model.config.get_text_config()
        return (
            "position_ids" in inspect.signature(self.model.forward).parameters
            and not getattr(self.model, "_is_stateful", False)
            and set(getattr(config, "layer_types", None) or ()) <= {"full_attention", "sliding_attention"}
            and max(map(len, encoded), default=0) <= self._window
        )

    @property
    def _window(self) -> float:
        """How many tokens back every layer sees."""
        return getattr(self.model.config.get_text_config(), "sliding_window", None) or math.inf

    def why_no_states(self) -> str:
        """Return why passage states cannot be kept for the next question; empty if they can."""
        if self.contract.format.layout == "question_first":
            return "the model reads the question first, so its states of a passage change with every question"
        return "" if self.can_share([]) else f"{self.model.config.model_type} models cannot share a prefix"

    def without_state(self, encoded: Sequence[EncodedPrompt]) -> list[EncodedPrompt]:
        """Return the prompts whose passage has no kept state, one for each passage."""
        root, rows = packing.share(encoded)
        past, states = self._root(root), self.states
        unread = {row.prefix: row.places[0] for row in rows if not (states and states.holds(past, row.prefix))}
        return [encoded[place] for place in unread.values()]

    @torch.inference_mode()
    def next_logprobs(
        self, encoded: Sequence[EncodedPrompt], choices: list[int], *, sharing: bool | None = None
    ) -> list[list[float]]:
        """Return the log-probabilities of these next tokens of each prompt, over the whole vocabulary.

        What prompts share is computed once (`packing`), unless the model cannot (`can_share`) or `sharing` is False.
        """
        shares = self.can_share(encoded) if sharing is None else sharing

        def scored(rows: list[SharedRow]) -> list[tuple[int, list[float]]]:
            return self._row_logprobs(rows, choices, shares=shares)

        # lazily: a pass keeps states that the next one finds, and running out of memory makes later batches smaller
        passes = self._passes(encoded) if shares else packing.batches(packing.unshared(encoded), self._budget)
        found = [
            one for rows in passes for one in in_halves(rows, scored, split=packing.alone, on_shortage=self._shrink)
        ]
        return [row for _, row in sorted(found)]

    def _passes(self, encoded: Sequence[EncodedPrompt]) -> Iterator[list[SharedRow]]:
        """Yield rows that go through the model together: first tails behind kept states, then rows to read whole.

        Tails are short, so they fill batches of their own: behind a long unread prefix they would be mostly padding.
        """
        root, rows = packing.share(encoded)
        past = self._root(root)
        states = self.states
        kept: list[SharedRow] = []
        fresh: list[SharedRow] = []
        for row in rows:
            row.past = past
            # only asked whether it is there: loading all states at once could take more memory than one batch needs
            known = states is not None and row.reusable and states.holds(past, row.prefix)
            (kept if known else fresh).append(row)
        for batch in packing.batches(kept, self._budget, packing.tail_tokens):
            warm = []
            for row in batch:
                state = states.get(past, row.prefix) if states else None
                if state is None:  # dropped since, to make room or by another process
                    fresh.append(row)
                else:
                    warm.append(SharedRow((), row.tails, row.places, state))
            if warm:
                yield warm
        yield from packing.batches(fresh, self._budget)

    def _root(self, ids: tuple[int, ...]) -> State:
        """Return the state of the text that all prompts begin with."""
        if not ids:
            return NOTHING
        if self.states and (known := self.states.get(NOTHING, ids)):
            return known

        def read(work: list[tuple[int, ...]]) -> list[State]:
            share_cores(self.device)
            before = Before([NOTHING], work)
            inputs = torch.tensor(work, device=self.device)
            self.model.base_model(input_ids=inputs, past_key_values=before, use_cache=True)
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

    def _kept(self, before: Before) -> list[State]:
        """Put the states that a pass has made into the cache, and return them."""
        made = before.kept()
        if self.states:
            for state in made:
                self.states.put(state)
        return made

    def _row_logprobs(
        self, rows: list[SharedRow], choices: list[int], *, shares: bool
    ) -> list[tuple[int, list[float]]]:
        """Return place and log-probabilities of each prompt in rows that go through the model together."""
        share_cores(self.device)
        laid = packing.lay_out(rows, self._pad_id, self.device)
        before = Before(
            [row.past for row in rows], [row.prefix if self.states and row.reusable else () for row in rows]
        )
        ends = torch.tensor(laid.ends, device=self.device)
        found = choice_logprobs(
            self.model,
            choices,
            ends[:, 1],
            ends[:, 2],
            input_ids=laid.input_ids,
            attention_mask=self._mask(laid) if shares else laid.is_text.long(),
            position_ids=laid.positions,
            past_key_values=before if shares else None,
            use_cache=shares,
        )
        self._kept(before)
        return list(zip(ends[:, 0].tolist(), found.tolist(), strict=True))

    def _mask(self, laid: Layout) -> torch.Tensor:
        """Return what is added to attention scores: nothing where a token sees another, else the lowest number."""
        # not infinity: a padding token may see nothing, and its softmax must not be nan
        unseen = torch.finfo(self.model.dtype).min
        return torch.zeros_like(laid.visible, dtype=self.model.dtype).masked_fill_(~laid.visible, unseen)

    @property
    def _pad_id(self) -> int:
        found = self.tokenizer.pad_token_id
        return int(found if found is not None else self.tokenizer.eos_token_id or 0)
