"""Passage states kept for the next question: in memory, and on disk if the user names a folder.

With the passage before the question, as in the paper, the keys and values of (system text + passage) do not depend on
the question. A state is found by every token id of its text, so that another template, passage or cut is another
state. On disk, the model's weights and the number type count too. A folder on disk holds::

    rankrag-states.json           marks it as ours; other folders are never written to
    OWNER/KEY.safetensors         one state; OWNER is a digest of the model
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from rankrag.models import Form
from rankrag.models.states import Layers, State
from rankrag.types import StateUse

_log = logging.getLogger(__name__)

MARK = "rankrag-states.json"
MEMORY_BYTES = 1 << 30
DISK_BYTES = 4 << 30

Kept = dict[str, torch.Tensor]
"""A state as it is stored: by layer "0.k", "0.v", and in int8 "0.k.scale", "0.v.scale"."""


class StateCache:
    """The states of one model; the least recently used are dropped first.

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
        self._disk = _Disk(folder, f"{owner}-{form}", disk_bytes, say) if folder else None

    def holds(self, before: State, ids: tuple[int, ...]) -> bool:
        """Whether the state of `ids` behind `before` is kept; counts as wanted."""
        key = _key(before, ids)
        there = key in self._memory or bool(self._disk and self._disk.holds(key))
        self.wanted += 1
        self.found += there
        return there

    def get(self, before: State, ids: tuple[int, ...]) -> State | None:
        """Return the state of `ids` behind `before`, or None if it is not kept (any more)."""
        key = _key(before, ids)
        with self._lock:
            kept = self._memory.get(key)
            if kept is not None:
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
            self._disk.write(key, kept)

    def release(self) -> None:
        """Drop all states from memory, for work that needs it more."""
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


class _Disk:
    """One model's states in a folder. Disk errors are reported once; they slow scoring but never change it."""

    def __init__(self, folder: Path, owner: str, limit: int, say: Callable[[str], None]) -> None:
        self.folder, self.limit = folder, limit
        self._own = folder / owner
        self._say: Callable[[str], None] | None = say
        self._sizes: OrderedDict[Path, int] = OrderedDict()
        self._held = 0
        self._usable = self._opened()

    def holds(self, key: str) -> bool:
        return self._usable and self._path(key).is_file()

    def read(self, key: str) -> Kept | None:
        path = self._path(key)
        if not self._usable:
            return None
        try:
            with safe_open(path, framework="pt") as file:
                whole = (file.metadata() or {}).get("key") == key
                kept = {name: file.get_tensor(name).clone() for name in file.keys()} if whole else None  # noqa: SIM118
        except (OSError, SafetensorError):
            kept = None
        with contextlib.suppress(OSError):
            if kept is None:
                path.unlink()  # half a file, or one that was moved here: the state is computed again
            else:
                os.utime(path)  # the last one used is the last one dropped
        if kept is not None and path in self._sizes:
            self._sizes.move_to_end(path)
        return kept

    def write(self, key: str, kept: Kept) -> None:
        path, size = self._path(key), _size(kept)
        if not self._usable or not self._say or size > self.limit or path.is_file():
            return
        partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
        try:
            self._own.mkdir(exist_ok=True)
            self._make_room(size)
            save_file({name: tensor.cpu().contiguous() for name, tensor in kept.items()}, partial, {"key": key})
            os.replace(partial, path)
        except (OSError, SafetensorError) as error:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            self._give_up(f"cannot be written ({_reason(error)}); what it holds is read, new states stay in memory")
            return
        self._sizes[path] = size
        self._held += size

    def _opened(self) -> bool:
        """Use the folder as it is, or create it; a folder with other things in it is left alone."""
        mark = self.folder / MARK
        try:
            if not mark.is_file():
                self.folder.mkdir(parents=True, exist_ok=True)
                if any(self.folder.iterdir()):
                    self._give_up(f"holds other things than passage states (no {MARK}); name an empty or a new folder")
                    return False
                mark.write_text(json.dumps({"version": 1}) + "\n", encoding="utf-8")
            found = sorted((s.st_mtime, s.st_size, p) for p, s in self._files())
        except OSError as error:
            self._give_up(f"cannot be used for passage states ({_reason(error)}); they stay in memory")
            return False
        self._sizes = OrderedDict((path, size) for _, size, path in found)
        self._held = sum(self._sizes.values())
        return True

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        for path in self.folder.glob("*/*.safetensors"):
            with contextlib.suppress(FileNotFoundError):  # another process has dropped it
                yield path, path.stat()

    def _make_room(self, size: int) -> None:
        while self._sizes and self._held + size > self.limit:
            path, dropped = self._sizes.popitem(last=False)
            path.unlink(missing_ok=True)
            self._held -= dropped

    def _path(self, key: str) -> Path:
        return self._own / f"{key}.safetensors"

    def _give_up(self, what: str) -> None:
        """Stop writing, and say why."""
        if self._say:
            self._say(f"state_cache {self.folder}: {what}")
        self._say = None


def open_cache(
    where: str | Path, model: Any, *, form: Form | None = None, say: Callable[[str], None] = lambda _: None
) -> StateCache | None:
    """Return the cache of a transformers model: "memory", "off" (None) or a folder.

    `form` is by default exact in memory, and 16 bits on disk.
    """
    if str(where) == "off":
        return None
    if str(where) == "memory":
        return StateCache(form=form or "exact", say=say)
    owner = model_fingerprint(model, model.config.to_dict())
    return StateCache(form=form or "float16", folder=Path(where), owner=owner, say=say)


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


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
