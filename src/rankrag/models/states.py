"""The state of a text: the keys and values that a model's layers hold of it, computed once, put before many tails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache

Layers = dict[int, tuple[torch.Tensor, torch.Tensor]]
"""By layer, keys and values of a text, [heads, tokens, width] each."""


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """A text's keys and values, of its own tokens `ids` only; what stands before them is `before`, shared by many."""

    ids: tuple[int, ...] = ()
    layers: Layers = field(default_factory=dict)
    before: State | None = None

    def __len__(self) -> int:
        """Return the tokens of the whole text."""
        return len(self.ids) + (len(self.before) if self.before else 0)

    @property
    def all_ids(self) -> tuple[int, ...]:
        """The whole text, from its first token on."""
        return (self.before.all_ids if self.before else ()) + self.ids

    def parts(self) -> Iterator[State]:
        """Yield what the text is made of, in order."""
        if self.before:
            yield from self.before.parts()
        yield self

    def cache(self, model: Any, rows: int) -> DynamicCache:
        """Return the state before each of so many rows, as transformers' own decoding takes it and goes on from it."""
        cache = DynamicCache(config=model.config)
        for part in self.parts():
            for layer, pair in part.layers.items():
                # one that was kept on disk, or in fewer bits, is still where and as it was read
                cache.update(*(t.to(model.device, model.dtype).expand(rows, -1, -1, -1) for t in pair), layer)
        return cache


NOTHING = State()
"""The state before the first token."""


class Before(Cache):  # type: ignore[misc]
    """What stands before each row of a batch, handed to the model layer by layer; it keeps the states rows add.

    States of different lengths are padded on the right. One layer's batch exists at a time, so that a batch of long
    states takes little memory; what follows the kept tokens is never stored.
    """

    def __init__(self, states: Sequence[State], keep: Sequence[tuple[int, ...]]) -> None:
        """Put `states` before the rows; of each row keep these first tokens (none: nothing)."""
        super().__init__(layers=[])
        self._states = states
        self._keep = keep
        self._kept: list[Layers] = [{} for _ in keep]
        self._width = max(map(len, states))

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a layer's keys and values with the rows' states before them."""
        for row, ids in enumerate(self._keep):
            if ids:
                own = (key_states[row, :, : len(ids)].clone(), value_states[row, :, : len(ids)].clone())
                self._kept[row][layer_idx] = own
        return self._joined(key_states, layer_idx, 0), self._joined(value_states, layer_idx, 1)

    def get_seq_length(self, *_: Any, **__: Any) -> int:
        """Return the tokens before the rows, padding included."""
        return self._width

    def get_mask_sizes(self, query_length: int, *_: Any, **__: Any) -> tuple[int, int]:
        """Return the length and offset of a mask, which is always given."""
        return self._width + query_length, 0

    def kept(self) -> list[State]:
        """Return the states of the rows' kept tokens, after the model has run."""
        return [
            State(ids, layers, before)
            for ids, layers, before in zip(self._keep, self._kept, self._states, strict=True)
            if ids
        ]

    def _joined(self, new: torch.Tensor, layer: int, which: int) -> torch.Tensor:
        if not self._width:
            return new
        rows, heads, length, width = new.shape
        state = self._states[0]
        if all(other is state for other in self._states):  # a GPU takes as long for one row's copy as for all
            parts = (part.layers[layer][which] for part in state.parts() if part.ids)
            return torch.cat([*(part.to(new).expand(rows, -1, -1, -1) for part in parts), new], dim=2)
        joined = new.new_zeros(rows, heads, self._width + length, width)
        joined[:, :, self._width :] = new
        for row, state in enumerate(self._states):
            start = 0
            for part in state.parts():
                if part.ids:
                    joined[row, :, start : start + len(part.ids)] = part.layers[layer][which]
                    start += len(part.ids)
        return joined
