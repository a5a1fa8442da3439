"""Passage states kept for the next question: in memory, and in a folder beside the index or where the user says.

With the passage before the question, as in the paper, the keys and values of (system text + passage) do not depend on
the question. A state is found by every token id of its text, so that another template, passage or cut is another
state. In a folder, the model's weights and the number type count too (`state_folder`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import threading
import weakref
from array import array
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from rankrag.models import Form
from rankrag.models.state_folder import DISK_BYTES, Kept, StateFolder
from rankrag.models.states import Layers, State
from rankrag.types import StateUse

_log = logging.getLogger(__name__)

MEMORY_BYTES = 1 << 30

WAITING_BYTES = 1 << 28
"""States that wait in memory to be written, at most: no question waits for the disk. From a quarter on they are written
beside the next questions, and the others at the end of the process."""


class StateCache:
    """The states of one model; the least recently used are dropped from memory first.

    Args:
        form: how they are kept.
        memory_bytes: limit in memory.
        folder: also keep them there, for other processes and days.
        owner: digest of the model (`model_fingerprint`); needed with `folder`.
        disk_bytes: limit in `folder`.
        say: gets one line if the folder cannot be used; states then stay in memory.
    """

    def __init__(
        self,
        *,
        form: Form = "exact",
        memory_bytes: int = MEMORY_BYTES,
        folder: Path | None = None,
        owner: str = "",
        disk_bytes: int = DISK_BYTES,
        say: Callable[[str], None] = _log.warning,
    ) -> None:
        self.form, self.memory_bytes = form, memory_bytes
        self.found = self.wanted = 0
        self._memory: OrderedDict[str, Kept] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()
        self._disk = StateFolder(folder, f"{owner}-{form}", disk_bytes, say) if folder else None
        self._unwritten: dict[str, Kept] = {}
        self._writer = threading.Thread()
        if self._disk:
            weakref.finalize(self, _write, self._disk, self._unwritten)

    def holds(self, before: State, ids: tuple[int, ...]) -> bool:
        """Whether the state of `ids` behind `before` is kept; counts as wanted."""
        key = _key(before, ids)
        there = key in self._memory or key in self._unwritten or bool(self._disk and self._disk.holds(key))
        self.wanted += 1
        self.found += there
        return there

    def get(self, before: State, ids: tuple[int, ...]) -> State | None:
        """Return the state of `ids` behind `before`, or None if it is not kept (any more)."""
        key = _key(before, ids)
        with self._lock:
            kept = self._memory.get(key, self._unwritten.get(key))
            if key in self._memory:
                self._memory.move_to_end(key)
        if kept is None and self._disk and (kept := self._disk.read(key)) is not None:
            self._remember(key, kept)
        return None if kept is None else State(ids, _unpacked(kept), before)

    def put(self, state: State) -> None:
        """Keep a state, in memory and on disk."""
        key = _key(state.before, state.ids)
        if key in self._memory:
            return
        kept = _packed(state.layers, self.form)
        self._remember(key, kept)
        if self._disk:
            waiting = sum(map(_size, list(self._unwritten.values()))) + _size(kept)
            if waiting <= WAITING_BYTES:  # a disk that is slower than the model gets what it can take
                self._unwritten[key] = kept
            if waiting > WAITING_BYTES // 4 and not self._writer.is_alive():
                self._writer = threading.Thread(target=self.write)
                self._writer.start()

    def write(self) -> None:
        """Write to the folder what waits; done by itself now and then, and at the end of the process."""
        if self._disk:
            _write(self._disk, self._unwritten)

    def release(self) -> None:
        """Drop all states from memory, for work that needs it more."""
        self.write()
        with self._lock:
            self._memory.clear()
            self._held = 0

    @property
    def use(self) -> StateUse:
        """How many states were found so far, of how many wanted."""
        return StateUse(self.found, self.wanted)

    @property
    def held_bytes(self) -> int:
        """Bytes that are kept in memory."""
        return self._held

    def _remember(self, key: str, kept: Kept) -> None:
        size = _size(kept)
        if size > self.memory_bytes:
            return
        with self._lock:
            if key in self._memory:
                return
            self._memory[key] = kept
            self._held += size
            while self._held > self.memory_bytes:
                _, dropped = self._memory.popitem(last=False)
                self._held -= _size(dropped)


def _write(disk: StateFolder, unwritten: dict[str, Kept]) -> None:
    while unwritten:
        with contextlib.suppress(KeyError):  # another thread has taken it
            disk.write(*unwritten.popitem())


def open_cache(
    where: str | Path, model: Any, *, form: Form = "exact", say: Callable[[str], None] = lambda _: None
) -> StateCache | None:
    """Return the cache of a transformers model: "memory", "off" (None) or a folder."""
    if str(where) == "off":
        return None
    if str(where) == "memory":
        return StateCache(form=form, say=say)
    owner = model_fingerprint(model, model.config.to_dict())
    return StateCache(form=form, folder=Path(where), owner=owner, say=say)


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


def _size(kept: Kept) -> int:
    return sum(tensor.nbytes for tensor in kept.values())


def _packed(layers: Layers, form: Form) -> Kept:
    kept: Kept = {}
    for layer, pair in layers.items():
        for name, tensor in zip("kv", pair, strict=True):
            if form == "int8":
                scale = tensor.float().abs().amax(dim=-2, keepdim=True).clamp_min(1e-12) / 127
                kept[f"{layer}.{name}"] = (tensor / scale).round().to(torch.int8)
                kept[f"{layer}.{name}.scale"] = scale
            else:  # 16 bits never grow, and a bfloat16 state never becomes float16, which could overflow
                short = form == "float16" and tensor.dtype == torch.float32
                kept[f"{layer}.{name}"] = tensor.half() if short else tensor
    return kept


def _unpacked(kept: Kept) -> Layers:
    def tensor(name: str) -> torch.Tensor:
        scale = kept.get(f"{name}.scale")
        return kept[name] if scale is None else kept[name] * scale

    layers = {int(name.partition(".")[0]) for name in kept}
    return {layer: (tensor(f"{layer}.k"), tensor(f"{layer}.v")) for layer in layers}
