"""Versions of an index in a bucket: how they are published, found and taken away.

Below the index's prefix:

    CURRENT                        the versions that are kept, the newest first; the only object that ever changes
    versions/NUMBER-SHA256.json    the files of a version: path, size, SHA-256 and the key of each one's object
    files/NUMBER-ATTEMPT/SHA256    a file, written by one attempt to publish version NUMBER

A version begins when `CURRENT` is swapped, which the server does only for who has seen the `CURRENT` before. Versions
are numbers: no clock counts. An index that is taken away leaves a `CURRENT` without versions, which took a number too:
to delete the object instead would also delete what a writer has published since it was read.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rankrag.data.files import sha256
from rankrag.errors import IndexStoreError
from rankrag.retrieval.s3.bucket import Bucket, MissingObjectError, SwapError

KEPT = 5
"""Versions that stay in the bucket."""

AT_ONCE = 8
"""Objects that are sent or fetched at the same time."""

FORMAT = 1
CURRENT = "CURRENT"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of an index: its path in the folder, its size and SHA-256, and the key of its object."""

    path: str
    size: int
    sha256: str
    key: str


@dataclass(frozen=True, slots=True)
class Head:
    """What `CURRENT` says, and its ETag.

    `names` are those of the versions that are kept, the newest first. `number` is the newest version's, or the one
    that the index was taken away with; 0 before the first.
    """

    names: tuple[str, ...] = ()
    etag: str | None = None
    number: int = 0


def read_head(bucket: Bucket) -> Head:
    """Return the versions of the index; none if there is no index."""
    try:
        data, etag = bucket.get(CURRENT)
    except MissingObjectError:
        return Head()
    try:
        found = json.loads(data)
        format_, names = found["format"], tuple(map(str, found["versions"]))
        numbers = [_number(name) for name in names] or [int(found["taken_away"])]
    except (ValueError, TypeError, KeyError):
        raise IndexStoreError(f"{bucket.place}/{CURRENT}: damaged, or not an index of rankrag; restore it") from None
    if format_ != FORMAT:
        raise IndexStoreError(
            f"{bucket.place}: the index has format {format_}, this rankrag reads format {FORMAT}; upgrade rankrag"
        )
    return Head(names, etag, numbers[0])


def read_version(bucket: Bucket, name: str) -> tuple[StoredFile, ...]:
    """Return the files of a version; its name holds its digest, so that what was changed is not taken for it."""
    data, _ = bucket.get(_version_key(name))
    if hashlib.sha256(data).hexdigest() != name.partition("-")[2]:
        raise IndexStoreError(f"{bucket.place}/{_version_key(name)}: the object is damaged; restore it")
    return files_from_json(data)


def files_to_json(files: Sequence[StoredFile]) -> bytes:
    """Return the files of a version as they stand in the bucket and beside a snapshot."""
    return json.dumps([asdict(file) for file in files]).encode()


def files_from_json(data: bytes) -> tuple[StoredFile, ...]:
    """Return the files that `files_to_json` wrote."""
    return tuple(StoredFile(**row) for row in json.loads(data))


def files_in(folder: Path, base: Path | None, known: Sequence[StoredFile]) -> list[StoredFile]:
    """Return the files of an index's folder; the key is empty where the bucket has no such file yet.

    `known` are those of the version that the folder came from; a file that is still linked to `base` is not read.
    """
    by_path, by_digest = {file.path: file for file in known}, {file.sha256: file for file in known}
    found = []
    for path in sorted(path for path in folder.glob("*.lance/**/*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        old = by_path.get(name)
        if old is not None and base is not None and path.samefile(base / name):
            found.append(old)
            continue
        digest = sha256(path)
        key = by_digest[digest].key if digest in by_digest else ""
        found.append(StoredFile(name, path.stat().st_size, digest, key))
    return found


def publish_version(
    bucket: Bucket, head: Head, folder: Path, files: Sequence[StoredFile]
) -> tuple[str, tuple[StoredFile, ...]]:
    """Make these files of a folder the version after `head`; return its name and its files.

    `SwapError` if another process was quicker. Until the swap at the end, nobody can see anything of it.
    """
    number = head.number + 1
    attempt = f"files/{number:08d}-{secrets.token_hex(8)}"
    whole = tuple(replace(file, key=file.key or f"{attempt}/{file.sha256}") for file in files)
    new = {file.key: folder / file.path for old, file in zip(files, whole, strict=True) if not old.key}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(bucket.upload, new.values(), new))
    data = files_to_json(whole)
    name = f"{number:08d}-{hashlib.sha256(data).hexdigest()}"
    bucket.put(_version_key(name), data)
    current = {"format": FORMAT, "versions": [name, *head.names[: KEPT - 1]]}
    try:
        bucket.swap(CURRENT, json.dumps(current).encode(), etag=head.etag)
    except SwapError:
        if name not in read_head(bucket).names:  # a swap whose reply was lost is sent again, and refused then
            raise
    return name, whole


def drop_old(bucket: Bucket, head: Head) -> None:
    """Delete what no kept version uses: files of older versions, and of attempts that were given up.

    An attempt carries the number of the version that it was to become. One with a number up to the newest version's
    can never be published any more; younger ones may be at work, and are left alone.
    """
    used = {file.key for name in head.names for file in read_version(bucket, name)}
    used.update(_version_key(name) for name in head.names)
    stored = [*bucket.keys("files"), *bucket.keys("versions")]
    bucket.delete([key for key in stored if key not in used and _is_past(key, head.number)])


def take_away(bucket: Bucket, head: Head) -> None:
    """Let the bucket hold no index any more; `drop_old` deletes its files.

    `SwapError` if another process has published a version after `head`, which then stands.
    """
    current = {"format": FORMAT, "versions": [], "taken_away": head.number + 1}
    try:
        bucket.swap(CURRENT, json.dumps(current).encode(), etag=head.etag)
    except SwapError:
        now = read_head(bucket)
        if now.names or now.number != head.number + 1:  # else the reply was lost, or another one has taken it away
            raise


def check_swaps(bucket: Bucket) -> None:
    """Raise if the server swaps an object for who has not seen it: writers could overwrite each other's versions."""
    key = f"files/{0:08d}-probe-{secrets.token_hex(8)}"  # `drop_old` takes it away if we are killed here
    bucket.put(key, b"")
    for condition, etag in (("If-None-Match", None), ("If-Match", '"00000000000000000000000000000000"')):
        try:
            bucket.swap(key, b"", etag=etag)
        except SwapError:
            continue
        raise IndexStoreError(
            f"{bucket.place}: the server ignores {condition}, so that two writers could lose each other's work; use a "
            "server with conditional writes (docs/object-storage.md)"
        )
    with suppress(IndexStoreError):  # without the right to delete
        bucket.delete([key])


def _version_key(name: str) -> str:
    return f"versions/{name}.json"


def _number(name: str) -> int:
    return int(name.partition("-")[0])


def _is_past(key: str, number: int) -> bool:
    first = key.split("/")[1].partition("-")[0]
    return first.isdigit() and int(first) <= number
