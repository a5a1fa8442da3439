"""The state of a text: keys and values of every layer, computed once and put before many tails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache

Layers = dict[int, tuple[torch.Tensor, torch.Tensor]]
"""By layer, keys and values of a text, [heads, tokens, width] each."""


def size_of(layers: Layers) -> int:
    """Return the bytes of keys and values."""
    return sum(tensor.nbytes for pair in layers.values() for tensor in pair)


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """Keys and values of the tokens `ids`; `before` is the state of the text before them, which many states share."""

    ids: tuple[int, ...] = ()
    layers: Layers = field(default_factory=dict)
    before: State | None = None

    def __len__(self) -> int:
        """Return the number of tokens of the whole text."""
        return len(self.ids) + (len(self.before) if self.before else 0)

    @property
    def all_ids(self) -> tuple[int, ...]:
        """The whole text, from its first token on."""
        return (self.before.all_ids if self.before else ()) + self.ids

    def parts(self) -> Iterator[State]:
        """Yield the states that the text consists of, in order."""
        if self.before:
            yield from self.before.parts()
        yield self

    def cache(self, model: Any, rows: int) -> DynamicCache:
        """Return the state as the cache of so many rows, from which transformers' own decoding goes on."""
        cache = DynamicCache(config=model.config)
        for part in self.parts():
            for layer, pair in part.layers.items():
                # a state from disk is not yet on the model's device
                cache.update(*(tensor.to(model.device).expand(rows, -1, -1, -1) for tensor in pair), layer)
        return cache


NOTHING = State()
"""The state before the first token."""


class Before(Cache):  # type: ignore[misc]
    """The cache of a forward pass: gives each layer the states before its rows, and keeps the states that rows add.

    An ordinary cache would hold all layers of all rows at once. This one builds a layer's batch when the layer asks for
    it, so that a batch behind long states takes little memory. What follows the tokens to keep is never stored.
    """

    def __init__(self, states: Sequence[State], keep: Sequence[tuple[int, ...]]) -> None:
        """Put `states` before the rows; keep the states of each row's first tokens `keep` (empty: none)."""
        super().__init__(layers=[])  # transformers' own layers stay empty; `update` does their work
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
                # cloned: a view would hold on to the keys and values of the whole batch
                own = (key_states[row, :, : len(ids)].clone(), value_states[row, :, : len(ids)].clone())
                self._kept[row][layer_idx] = own
        return self._joined(key_states, layer_idx, 0), self._joined(value_states, layer_idx, 1)

    def get_seq_length(self, *_: Any, **__: Any) -> int:
        """Return the tokens before the rows, padding included."""
        # of the longest state: behind a shorter one, positions and mask of our own say where its tokens are
        return self._width

    def get_mask_sizes(self, query_length: int, *_: Any, **__: Any) -> tuple[int, int]:
        """Return length and offset of the mask that transformers would make; ours replaces it."""
        return self._width + query_length, 0

    def kept(self) -> list[State]:
        """Return the states of the tokens to keep, after the model has run."""
        return [
            State(ids, layers, before)
            for ids, layers, before in zip(self._keep, self._kept, self._states, strict=True)
            if ids
        ]

    def _joined(self, new: torch.Tensor, layer: int, which: int) -> torch.Tensor:
        """Return keys (`which` 0) or values (1) of the states and then of the rows, [rows, heads, tokens, width]."""
        if not self._width:
            return new
        rows, heads, length, width = new.shape
        state = self._states[0]
        # all rows behind one state: broadcast it, since a GPU takes as long for one row's copy as for all
        if all(other is state for other in self._states):
            parts = (part.layers[layer][which] for part in state.parts() if part.ids)
            return torch.cat([*(part.to(new).expand(rows, -1, -1, -1) for part in parts), new], dim=2)
        # zeros behind shorter states are padding, which the mask hides
        joined = new.new_zeros(rows, heads, self._width + length, width)
        joined[:, :, self._width :] = new
        for row, state in enumerate(self._states):
            start = 0
            for part in state.parts():
                if part.ids:
                    joined[row, :, start : start + len(part.ids)] = part.layers[layer][which]
                    start += len(part.ids)
        return joined
