"""Versions on this machine's disk. A snapshot is there whole or not at all, and stays while any process uses it.

In the index's folder of the cache:

    versions/NAME      a snapshot: a folder that `PassageStore` opens, which nobody changes, and the list of its files
    newest             the name of the snapshot that was moved to last
    moving/, writing/  what is being fetched, and copies that are being changed; leftovers are used again or removed
    states/            states of passages (`state_cache: index`); they stay on this machine
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock

from rankrag.data.files import cache_dir, write_whole
from rankrag.errors import IndexStoreError, writing
from rankrag.retrieval.s3.access import endpoint
from rankrag.retrieval.s3.address import BucketPlace
from rankrag.retrieval.s3.bucket import Bucket
from rankrag.retrieval.s3.versions import AT_ONCE, StoredFile, files_from_json, files_to_json, read_version

_FILES = "files.json"


def cache_of(place: BucketPlace) -> Path:
    """Return the folder of this machine that belongs to an index; other servers' buckets have other folders."""
    digest = hashlib.sha256(f"{endpoint()} {place}".encode()).hexdigest()[:16]
    return cache_dir() / "indexes" / f"{place.name}-{digest}"


class Snapshots:
    """The snapshots of one index. Processes take turns to move; meanwhile each goes on with what it has."""

    def __init__(self, root: Path) -> None:
        self.root = root
        with writing(root, IndexStoreError, "by setting RANKRAG_CACHE"):
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            for name in ("versions", "moving", "writing"):
                (root / name).mkdir(exist_ok=True)

    @contextmanager
    def moving(self) -> Iterator[None]:
        """Hold the lock without which no snapshot appears or goes."""
        again = "then run the same command again"
        with writing(self.root, IndexStoreError, again), FileLock(self.root / "move.lock"):
            yield

    def newest(self) -> str | None:
        """Return the name of the snapshot that was moved to last, `None` if there is none."""
        with suppress(OSError):
            name = (self.root / "newest").read_text("utf-8").strip()
            if self.folder(name).is_dir():
                return name
        return None

    def folder(self, name: str) -> Path:
        """Return the folder of a snapshot, which may not be there."""
        return self.root / "versions" / name

    def files(self, name: str) -> tuple[StoredFile, ...]:
        """Return the files of a snapshot; none of one that is not there, or that lost a file."""
        folder = self.folder(name)
        try:
            files = files_from_json((folder / _FILES).read_bytes())
            return files if all((folder / file.path).stat().st_size == file.size for file in files) else ()
        except (OSError, ValueError, TypeError):
            return ()

    def fetch(self, bucket: Bucket, name: str) -> None:
        """Bring a version to this disk; only what no snapshot here has comes from the bucket. Needs `moving`."""
        if not self.files(name):
            files = read_version(bucket, name)
            fetched, folder = self.root / "moving" / "files", self.root / "moving" / name
            here = {
                file.sha256: self.folder(old.name) / file.path for old in self._all() for file in self.files(old.name)
            }
            new = {
                file.sha256: file for file in files if not (here.get(file.sha256) or fetched / file.sha256).is_file()
            }
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(lambda file: bucket.download(file.key, fetched / file.sha256, file.sha256), new.values()))
            shutil.rmtree(folder, ignore_errors=True)
            for file in files:
                _link(here.get(file.sha256, fetched / file.sha256), folder / file.path)
            self.adopt(folder, name, files)
        write_whole(self.root / "newest", name)

    def adopt(self, folder: Path, name: str, files: Sequence[StoredFile]) -> None:
        """Make a folder that holds these files the snapshot of a version. Needs `moving`."""
        (folder / _FILES).write_bytes(files_to_json(files))
        self._discard(self.folder(name))  # one that lost a file
        folder.rename(self.folder(name))
        write_whole(self.root / "newest", name)

    def tidy(self, keep: str) -> None:
        """Remove all snapshots but one that no process holds, and what was left half fetched. Needs `moving`."""
        for folder in self._all():
            if folder.name != keep and _is_free(folder):
                self._discard(folder)
        for left in (self.root / "moving").iterdir():
            shutil.rmtree(left, ignore_errors=True)

    def _discard(self, folder: Path) -> None:
        """Remove a snapshot; a kill leaves no half of it under its name."""
        if folder.is_dir():
            gone = self.root / "moving" / f"{folder.name}.gone"
            shutil.rmtree(gone, ignore_errors=True)
            folder.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)

    def _all(self) -> list[Path]:
        return list((self.root / "versions").iterdir())

    def copy(self, name: str | None) -> Path:
        """Return a new folder with the files of a snapshot, to be changed. Files are links: no engine writes to one."""
        folder = self.root / "writing" / "copy"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for file in self.files(name) if name else ():
            _link(self.folder(str(name)) / file.path, folder / file.path)
        return folder


def hold(folder: Path, owner: object) -> None:
    """Keep every process from removing a snapshot as long as `owner` lives. Needs `moving`."""
    descriptor = os.open(folder, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    weakref.finalize(owner, os.close, descriptor)


def _is_free(folder: Path) -> bool:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a disk without links
        shutil.copyfile(source, target)
