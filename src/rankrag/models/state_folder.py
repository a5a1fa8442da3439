"""Passage states in a folder, for other processes and days. Disk errors slow scoring, but never change it.

A folder holds::

    rankrag-states.json           marks it as ours; other folders are never written to
    OWNER/KEY.safetensors         one state; OWNER is a digest of the model

The time of a file says how long its state is worth its room: each use adds a day, from the time that it has, but from
now at least. So what is asked for most stays longest, all processes agree on it, and nothing else needs to be written
down. A folder that is full takes a new state only in the place of one whose time is over. So a long list of questions
asked once fills the folder once, and does not write without end.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

MARK = "rankrag-states.json"
DISK_BYTES = 4 << 30

KEEP_FREE = 1 << 30
"""Bytes of the disk that are left to others."""

A_USE = 86_400.0
"""Seconds by which a use puts off the end of a state."""

_WRITTEN_WITHIN = 3600.0

LOOK_AGAIN = 60.0
"""Seconds after which the folder is looked through again, for what other processes have written and deleted."""

Kept = dict[str, torch.Tensor]
"""A state as it is stored: by layer "0.k", "0.v", and in int8 "0.k.scale", "0.v.scale"."""


class StateFolder:
    """One model's states in a folder.

    Args:
        folder: where; made if it is missing.
        owner: digest of the model and of the form of its states.
        limit: bytes that the states of all models may take there.
        say: gets one line if the folder cannot be used, or no longer be written.
    """

    def __init__(self, folder: Path, owner: str, limit: int, say: Callable[[str], None]) -> None:
        self.folder, self.limit = folder, limit
        self._own = folder / owner
        self._say: Callable[[str], None] | None = say
        self._ends: dict[Path, tuple[float, int]] = {}
        self._is_full, self._look_at = False, 0.0
        self._lock = threading.Lock()  # states are read while others are written
        self._usable = self._opened()

    def holds(self, key: str) -> bool:
        """Whether there is a file for a state."""
        return self._usable and self._path(key).is_file()

    def read(self, key: str) -> Kept | None:
        """Return a state, or None if there is none; a file that is damaged, or another state's, is deleted."""
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
                path.unlink()
            else:
                self._used(path, path.stat())
        return kept

    def write(self, key: str, kept: Kept) -> None:
        """Keep a state, if there is room for it."""
        path, size = self._path(key), sum(tensor.nbytes for tensor in kept.values())
        if not self._usable or not self._say or path.is_file():
            return
        partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
        try:
            self._own.mkdir(exist_ok=True)
            with self._lock:
                if not self._has_room(size):
                    return
            save_file({name: tensor.cpu().contiguous() for name, tensor in kept.items()}, partial, {"key": key})
            os.replace(partial, path)
            self._used(path, path.stat())
        except (OSError, SafetensorError) as error:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)
            self._give_up(f"cannot be written ({_reason(error)}); what it holds is read, new states stay in memory")

    def _opened(self) -> bool:
        """Use the folder as it is, or make it; a folder with other things in it is left alone."""
        mark = self.folder / MARK
        try:
            if not mark.is_file():
                self.folder.mkdir(parents=True, exist_ok=True)
                if any(entry.name != MARK for entry in self.folder.iterdir()):  # another process may make it now
                    self._give_up(f"holds other things than passage states (no {MARK}); name an empty or a new folder")
                    return False
                mark.write_text(json.dumps({"version": 1}) + "\n", encoding="utf-8")
            self._look()
        except OSError as error:
            self._give_up(f"cannot be used for passage states ({_reason(error)}); they stay in memory")
            return False
        return True

    def _look(self) -> None:
        """Take over what is there now: other processes write and delete too."""
        self._ends, self._is_full, self._look_at = {}, False, time.time() + LOOK_AGAIN
        for path in self.folder.glob("*/*.safetensors*"):
            with contextlib.suppress(FileNotFoundError):
                found = path.stat()
                # half a file of a process that was killed goes first, but not one that is being written now
                end = found.st_mtime + (0.0 if path.suffix == ".safetensors" else _WRITTEN_WITHIN)
                self._ends[path] = (end, found.st_size)

    def _has_room(self, size: int) -> bool:
        """Make room for a state out of those whose time is over; False if that does not suffice."""
        if shutil.disk_usage(self.folder).free - size < KEEP_FREE:
            return False
        now = time.time()
        if now >= self._look_at:
            self._look()
        over = self._taken() + size - self.limit
        by_end = sorted(self._ends.items(), key=lambda item: item[1]) if over > 0 and not self._is_full else []
        for path, (end, found) in by_end:
            if over <= 0 or end > now:
                break
            path.unlink(missing_ok=True)
            del self._ends[path]
            over -= found
        self._is_full = over > 0
        return over <= 0

    def _taken(self) -> int:
        return sum(size for _, size in self._ends.values())

    def _used(self, path: Path, found: os.stat_result) -> None:
        end = max(found.st_mtime, time.time()) + A_USE
        os.utime(path, (time.time(), end))
        with self._lock:
            self._ends[path] = (end, found.st_size)

    def _path(self, key: str) -> Path:
        return self._own / f"{key}.safetensors"

    def _give_up(self, what: str) -> None:
        """Stop writing, and say why."""
        if self._say:
            self._say(f"state_cache {self.folder}: {what}")
        self._say = None


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
