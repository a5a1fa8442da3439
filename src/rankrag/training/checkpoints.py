"""Checkpoints that are whole or not there: written elsewhere, moved to their place, checked before use."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path

COMPLETE = "complete.json"

_PREFIX = "checkpoint-"
_PARTIAL = "partial"

log = logging.getLogger(__name__)


def partial_dir(out: Path) -> Path:
    """Return the folder in which the next checkpoint is written, without the remains of a killed run."""
    partial = out / _PARTIAL
    shutil.rmtree(partial, ignore_errors=True)
    return partial


def publish(partial: Path, final: Path) -> None:
    """Move a written checkpoint to its place with a list of its files' sizes, once its bytes are on the disk."""
    files = [path for path in sorted(partial.rglob("*")) if path.is_file()]
    for path in files:
        _sync(path)
    sizes = {str(path.relative_to(partial)): path.stat().st_size for path in files}
    (partial / COMPLETE).write_text(json.dumps(sizes, indent=1), encoding="utf-8")
    _sync(partial / COMPLETE)
    shutil.rmtree(final, ignore_errors=True)
    os.replace(partial, final)
    _sync(final.parent)


def newest_checkpoint(out: Path) -> Path | None:
    """Return the newest whole checkpoint of a run folder."""
    return next(iter(newest_checkpoints(out, 1)), None)


def newest_checkpoints(out: Path, count: int) -> list[Path]:
    """Return the newest whole checkpoints of a run folder, the newest first; damaged ones are logged and skipped."""
    found: list[Path] = []
    for path in reversed(all_checkpoints(out)):
        if len(found) == count:
            break
        if _is_whole(path):
            found.append(path)
        else:
            log.warning("%s is not whole and is passed over", path)
    return found


def all_checkpoints(out: Path) -> list[Path]:
    """Return the checkpoints of a run folder, the oldest first."""
    found = [path for path in out.glob(f"{_PREFIX}*") if path.name.removeprefix(_PREFIX).isdigit()]
    return sorted(found, key=step_of)


def checkpoint_path(out: Path, step: int) -> Path:
    """Return the place of the checkpoint after `step` steps."""
    return out / f"{_PREFIX}{step}"


def step_of(checkpoint: Path) -> int:
    """Return the number of steps after which a checkpoint was written."""
    return int(checkpoint.name.removeprefix(_PREFIX))


def prune(out: Path, keep: int) -> None:
    """Delete all but the newest `keep` checkpoints."""
    for path in all_checkpoints(out)[:-keep] if keep else all_checkpoints(out):
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
