"""Checkpoints that are whole or passed over: the list of its files is written last, and checked before use."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

COMPLETE = "complete.json"

_PREFIX = "checkpoint-"

log = logging.getLogger(__name__)


def seal(checkpoint: Path) -> None:
    """Mark a written checkpoint as whole by a list of its files' sizes, once their bytes are on the disk."""
    files = [path for path in sorted(checkpoint.rglob("*")) if path.is_file()]
    for path in files:
        _sync(path)
    sizes = {str(path.relative_to(checkpoint)): path.stat().st_size for path in files}
    (checkpoint / COMPLETE).write_text(json.dumps(sizes, indent=1), encoding="utf-8")
    _sync(checkpoint / COMPLETE)
    _sync(checkpoint)


def newest_checkpoint(out: Path) -> Path | None:
    """Return the newest whole checkpoint of a run folder."""
    return next(whole_checkpoints(out), None)


def whole_checkpoints(out: Path) -> Iterator[Path]:
    """Yield the whole checkpoints of a run folder, the newest first; damaged ones are logged and skipped."""
    for path in reversed(all_checkpoints(out)):
        if _is_whole(path):
            yield path
        else:
            log.warning("%s is not whole and is passed over", path)


def all_checkpoints(out: Path) -> list[Path]:
    """Return the checkpoints of a run folder, the oldest first."""
    steps = (path.name.removeprefix(_PREFIX) for path in out.glob(f"{_PREFIX}*"))
    return [checkpoint_path(out, step) for step in sorted(int(step) for step in steps if step.isdigit())]


def checkpoint_path(out: Path, step: int) -> Path:
    """Return the place of the checkpoint after `step` steps."""
    return out / f"{_PREFIX}{step}"


def prune(out: Path, keep: int) -> None:
    """Delete all but the newest `keep` whole checkpoints."""
    kept = set(islice(whole_checkpoints(out), keep))
    for path in all_checkpoints(out):
        if path not in kept:
            shutil.rmtree(path)


def _is_whole(path: Path) -> bool:
    try:
        sizes = json.loads((path / COMPLETE).read_text(encoding="utf-8"))
        return all((path / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
