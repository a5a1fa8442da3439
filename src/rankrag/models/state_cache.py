"""Passage states kept for the next question: in memory, and in a folder beside the index or where the user says.

With the passage before the question, as in the paper, the keys and values of (system text + passage) do not depend on
the question. A state is found by every token id of its text, so that another template, passage or cut is another
state. In a folder, the model's weights and the number type count too (`state_folder`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import weakref
from array import array
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from rankrag.models.state_folder import StateFolder
from rankrag.models.states import Layers, State, size_of
from rankrag.types import StateUse

MEMORY_BYTES = 1 << 30

WAITING_BYTES = 1 << 28
"""States that wait in memory to be written, at most: no question waits for the disk. From a quarter on they are written
beside the next questions, and the others at the end of the process."""


class StateCache:
    """The states of one model; the least recently used are dropped from memory first.

    Args:
        folder: also keeps them, for other processes and days.
        memory_bytes: limit in memory.

    Attributes:
        folder: as given.
        use: how many states were found so far, of how many wanted.
        held_bytes: bytes that are kept in memory.
    """

    def __init__(self, folder: StateFolder | None = None, *, memory_bytes: int = MEMORY_BYTES) -> None:
        self.use, self.held_bytes = StateUse(0, 0), 0
        self.folder, self._memory_bytes = folder, memory_bytes
        self._memory: OrderedDict[str, Layers] = OrderedDict()
        self._lock = threading.Lock()
        self._unwritten: dict[str, Layers] = {}
        self._writer = threading.Thread()
        if folder:
            weakref.finalize(self, _write, folder, self._unwritten)

    def holds(self, before: State, ids: tuple[int, ...]) -> bool:
        """Whether the state of `ids` behind `before` is kept; counts as wanted."""
        key = _key(before, ids)
        there = key in self._memory or key in self._unwritten or bool(self.folder and self.folder.holds(key))
        self.use = StateUse(self.use.found + there, self.use.wanted + 1)
        return there

    def get(self, before: State, ids: tuple[int, ...]) -> State | None:
        """Return the state of `ids` behind `before`, or None if it is not kept (any more)."""
        key = _key(before, ids)
        with self._lock:
            layers = self._memory.get(key, self._unwritten.get(key))
            if key in self._memory:
                self._memory.move_to_end(key)
        if layers is None and self.folder and (layers := self.folder.read(key)) is not None:
            self._remember(key, layers)
        return None if layers is None else State(ids, layers, before)

    def put(self, state: State) -> None:
        """Keep a state, in memory and on disk."""
        key = _key(state.before, state.ids)
        if key in self._memory:
            return
        self._remember(key, state.layers)
        if self.folder:
            waiting = sum(map(size_of, list(self._unwritten.values()))) + size_of(state.layers)
            if waiting <= WAITING_BYTES:  # a disk that is slower than the model gets what it can take
                self._unwritten[key] = state.layers
            if waiting > WAITING_BYTES // 4 and not self._writer.is_alive():
                self._writer = threading.Thread(target=self.write)
                self._writer.start()

    def write(self) -> None:
        """Write to the folder what waits; done by itself now and then, and at the end of the process."""
        if self.folder:
            _write(self.folder, self._unwritten)

    def release(self) -> None:
        """Drop all states from memory, for work that needs it more."""
        self.write()
        with self._lock:
            self._memory.clear()
            self.held_bytes = 0

    def _remember(self, key: str, layers: Layers) -> None:
        with self._lock:
            if key in self._memory or size_of(layers) > self._memory_bytes:
                return
            self._memory[key] = layers
            self.held_bytes += size_of(layers)
            while self.held_bytes > self._memory_bytes:
                _, dropped = self._memory.popitem(last=False)
                self.held_bytes -= size_of(dropped)


def _write(folder: StateFolder, unwritten: dict[str, Layers]) -> None:
    while unwritten:
        with contextlib.suppress(KeyError):  # another thread has taken it
            folder.write(*unwritten.popitem())


def open_cache(where: str | Path, model: Any, say: Callable[[str], None] = lambda _: None) -> StateCache | None:
    """Return the cache of a transformers model: "memory", "off" (None) or a folder; `say` hears what is wrong there."""
    if str(where) in ("off", "memory"):
        return StateCache() if str(where) == "memory" else None
    return StateCache(StateFolder(Path(where), model_fingerprint(model, model.config.to_dict()), say=say))


def model_fingerprint(model: torch.nn.Module, config: dict[str, Any]) -> str:
    """Return a short digest of everything but token ids that states depend on: the model's weights and configuration.

    From a large weight, only 65,536 values at even distances are read: training changes all of them.
    """
    digest = hashlib.sha256()
    named = {name: value for name, value in config.items() if name not in ("_name_or_path", "transformers_version")}
    digest.update(json.dumps(named, sort_keys=True, default=str).encode())
    for name, weight in model.state_dict().items():
        if not isinstance(weight, torch.Tensor) or weight.is_quantized:
            continue
        flat = weight.detach().flatten()
        read = flat[:: max(1, len(flat) // 65536)].contiguous().cpu()
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
        digest.update(read.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _key(before: State | None, ids: tuple[int, ...]) -> str:
    """Name a state by all tokens of its text."""
    return hashlib.sha256(array("q", (*(before.all_ids if before else ()), *ids)).tobytes()).hexdigest()
