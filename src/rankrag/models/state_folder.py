"""Passage states in a folder, for other processes and days. Disk errors slow scoring, but never change it.

A folder holds::

    rankrag-states.json           marks it as ours, and has its bound; other folders are never written to
    OWNER/KEY.safetensors         one state; OWNER is a digest of the model

The time of a file says how long its state is worth its room: each use adds a day, from the time that it has, but from
now at least. So what is asked for most stays longest, all processes agree on it, and nothing else needs to be written
down. A folder that is full takes a new state only in the place of one whose time is over. So a long list of questions
asked once fills the folder once, and does not write without end.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from rankrag.data.files import write_whole
from rankrag.models.states import Layers, size_of

_log = logging.getLogger(__name__)

MARK = "rankrag-states.json"
DISK_BYTES = 4 << 30

KEEP_FREE = 1 << 30
"""Bytes of the disk that are left to others."""

A_USE = 86_400.0
"""Seconds by which a use puts off the end of a state."""

_WRITTEN_WITHIN = 3600.0

_LOOK_AGAIN = 60.0
"""Seconds after which the folder is looked through again, for what other processes have written and deleted."""


class StateFolder:
    """One model's states in a folder.

    Args:
        folder: where; made if it is missing.
        owner: digest of the model.
        limit: bytes that the states of all models may take there, if the folder does not say (`allow`).
        say: gets one line if the folder cannot be used, or no longer be written.
    """

    def __init__(
        self, folder: Path, owner: str, *, limit: int = DISK_BYTES, say: Callable[[str], None] = _log.warning
    ) -> None:
        self.folder, self._limit = folder, limit
        self._own = folder / owner
        self._say: Callable[[str], None] | None = say
        self._taken, self._is_full, self._look_at = 0, False, 0.0
        self._usable = self._opened()

    @property
    def limit(self) -> int:
        """Bytes that the states of all models may take there: the folder's own bound, if it has one."""
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            return int(json.loads((self.folder / MARK).read_text("utf-8")).get("bytes", self._limit))
        return self._limit

    @property
    def takes_states(self) -> bool:
        """Whether states can be written, as far as is known."""
        return self._usable and self._say is not None

    def allow(self, limit: int) -> None:
        """Let states take up to `limit` bytes there, in all processes from now on."""
        if self.takes_states:
            try:
                write_whole(self.folder / MARK, json.dumps({"version": 1, "bytes": limit}) + "\n")
            except OSError as error:
                self._give_up(f"cannot be written ({_reason(error)})")

    def holds(self, key: str) -> bool:
        """Whether there is a file for a state."""
        return self._usable and self._path(key).is_file()

    def read(self, key: str) -> Layers | None:
        """Return a state, or None if there is none; a file that is damaged, or another state's, is deleted."""
        path = self._path(key)
        if not self._usable:
            return None
        try:
            with safe_open(path, framework="pt") as file:
                if (file.metadata() or {}).get("key") != key:
                    raise SafetensorError("another state")
                numbers = sorted({int(name.partition(".")[0]) for name in file.keys()})  # noqa: SIM118
                layers = {n: (file.get_tensor(f"{n}.k").clone(), file.get_tensor(f"{n}.v").clone()) for n in numbers}
        except (OSError, SafetensorError):
            layers = {}
        with contextlib.suppress(OSError):
            if layers:
                _use(path)
            else:
                path.unlink()
        return layers or None

    def write(self, key: str, layers: Layers) -> None:
        """Keep a state, if there is room for it."""
        path = self._path(key)
        if not self._usable or not self._say or path.is_file():
            return
        partial = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
        try:
            self._own.mkdir(exist_ok=True)
            if not self._has_room(size_of(layers)):
                return
            named = {
                f"{n}.{kind}": pair[i].cpu().contiguous() for n, pair in layers.items() for i, kind in enumerate("kv")
            }
            save_file(named, partial, {"key": key})
            os.replace(partial, path)
            _use(path)
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
        except OSError as error:
            self._give_up(f"cannot be used for passage states ({_reason(error)}); they stay in memory")
            return False
        return True

    def _has_room(self, size: int) -> bool:
        """Whether there is room for a state, made out of those whose time is over if need be."""
        now, limit = time.time(), self.limit
        is_over = self._taken + size > limit
        if shutil.disk_usage(self.folder).free - size < KEEP_FREE:
            return False
        # a full folder is not looked through for every state: nothing's time is over within a minute
        if now >= self._look_at or (is_over and not self._is_full):
            self._make_room(size, now, limit)
        if self._is_full:
            return False
        self._taken += size
        return True

    def _make_room(self, size: int, now: float, limit: int) -> None:
        """Count what is there, of other processes too, and delete states whose time is over until `size` fits."""
        found = []
        for path in self.folder.glob("*/*.safetensors*"):
            with contextlib.suppress(FileNotFoundError):
                there = path.stat()
                # half a file of a process that was killed goes first, but not one that is being written now
                end = there.st_mtime + (0.0 if path.suffix == ".safetensors" else _WRITTEN_WITHIN)
                found.append((end, there.st_size, path))
        self._taken, self._look_at = sum(held for _, held, _ in found), now + _LOOK_AGAIN
        for end, held, path in sorted(found):
            if self._taken + size <= limit or end > now:
                break
            path.unlink(missing_ok=True)
            self._taken -= held
        self._is_full = self._taken + size > limit

    def _path(self, key: str) -> Path:
        return self._own / f"{key}.safetensors"

    def _give_up(self, what: str) -> None:
        """Stop writing, and say why."""
        if self._say:
            self._say(f"state_cache {self.folder}: {what}")
        self._say = None


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _use(path: Path) -> None:
    """Put off the end of a state."""
    now = time.time()
    os.utime(path, (now, max(path.stat().st_mtime, now) + A_USE))
