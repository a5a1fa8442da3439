"""Objects below one prefix of a bucket: read, write, compare-and-swap, list, delete; errors that say what to do."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from rankrag.errors import IndexStoreError, MissingExtraError, first_line
from rankrag.retrieval.s3.access import access
from rankrag.retrieval.s3.address import BucketPlace

try:
    import obstore
    from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, PreconditionError
    from obstore.store import S3Store
except ImportError as error:
    raise MissingExtraError(
        f"an index in object storage needs obstore ({first_line(error)}): pip install 'rankrag[s3]'"
    ) from None

_PIECE = 1 << 22  # bytes


class UnreachableError(IndexStoreError):
    """The bucket's server does not answer."""


class MissingObjectError(IndexStoreError):
    """An object is not there."""


class SwapError(Exception):
    """Another process has changed an object since it was read."""


class Bucket:
    """The objects of one index, by key below its prefix. Any number of threads may use it at once."""

    def __init__(self, place: BucketPlace) -> None:
        self.place = place
        settings = access()
        self._store = S3Store(
            place.bucket,
            prefix=place.prefix,
            config=settings,
            client_options={
                "allow_http": str(settings.get("endpoint", "")).startswith("http://"),
                "connect_timeout": timedelta(seconds=5),
                "timeout": timedelta(hours=1),  # of one request: a file of GBs over a slow line
            },
            retry_config={"max_retries": 3, "retry_timeout": timedelta(minutes=3)},
        )

    def get(self, key: str) -> tuple[bytes, str]:
        """Return an object's bytes and its ETag; `MissingObjectError` if there is none."""
        with self._explained(key, "read"):
            found = obstore.get(self._store, key)
            return bytes(found.bytes()), found.meta["e_tag"] or ""

    def put(self, key: str, data: bytes) -> None:
        """Write a small object."""
        with self._explained(key, "write"):
            obstore.put(self._store, key, data)

    def swap(self, key: str, data: bytes, *, etag: str | None) -> None:
        """Write an object whose ETag still is `etag`, or that is not there yet (`None`); else `SwapError`."""
        with self._explained(key, "write"):
            try:
                obstore.put(self._store, key, data, mode="create" if etag is None else {"e_tag": etag})
            except (AlreadyExistsError, PreconditionError) as error:
                raise SwapError from error

    def upload(self, path: Path, key: str) -> None:
        """Write a file's bytes, in parts if it is large."""
        with self._explained(key, "write"):
            obstore.put(self._store, key, path)

    def download(self, key: str, path: Path, sha256: str) -> None:
        """Write an object into a file that appears whole, or not at all where its SHA-256 is another."""
        partial = path.with_name(path.name + ".partial")
        path.parent.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with self._explained(key, "read"), partial.open("wb") as file:
            for piece in obstore.get(self._store, key).stream(_PIECE):
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != sha256:
            raise IndexStoreError(
                f"{self.place}/{key}: the object is damaged (its SHA-256 is not the one that was published); restore "
                "it, or index the documents under a new name"
            )
        partial.rename(path)

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that begin with a folder's name."""
        with self._explained(prefix, "list"):
            return [found["path"] for batch in obstore.list(self._store, prefix) for found in batch]

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; those that are not there are none the less gone."""
        if keys:
            with self._explained(keys[0], "delete"):
                obstore.delete(self._store, keys)

    @contextmanager
    def _explained(self, key: str, doing: str) -> Iterator[None]:
        """Turn what the library raises into one error: what happened, and what to do."""
        try:
            yield
        except FileNotFoundError as error:
            if error.errno is not None:  # a file of this machine
                raise
            if "NoSuchBucket" in str(error):
                what = "there is no such bucket; make it, or correct its name"
                raise IndexStoreError(f"{self.place}: {what} (NoSuchBucket)") from None
            raise MissingObjectError(f"{self.place}/{key}: the object is not there") from None
        except BaseError as error:
            raise self._error(error, doing) from error

    def _error(self, error: BaseError, doing: str) -> IndexStoreError:
        said = str(error)
        code = re.search(r"<Code>(\w+)</Code>", said)
        reason = code[1] if code else first_line(error).rpartition(" - ")[2][:200]
        if "RequestTimeTooSkewed" in said:
            what = "the clock of this machine is wrong by minutes, so that the server refuses its requests; set it"
        elif reason in _UNKNOWN_KEYS or "redential" in said or "169.254." in said:
            what = "no valid keys; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws/credentials"
        elif isinstance(error, PermissionDeniedError) or reason == "AccessDenied":
            what = f"these keys have no right to {doing}; docs/object-storage.md has the policy that is needed"
        elif code is None or reason in _BUSY:
            what = "the bucket cannot be reached; what was published is safe, run the same command again"
            return UnreachableError(f"{self.place}: {what} ({reason})")
        else:
            what = "the server refused; see its log"
        return IndexStoreError(f"{self.place}: {what} ({reason})")


_UNKNOWN_KEYS = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "AuthFailure"}
_BUSY = {"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout"}
