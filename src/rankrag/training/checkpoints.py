"""Checkpoints that are whole or not there: written elsewhere, moved to their place, checked before use."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator
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
    """Delete all but the newest `keep` checkpoints."""
    for path in all_checkpoints(out)[::-1][keep:]:
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
