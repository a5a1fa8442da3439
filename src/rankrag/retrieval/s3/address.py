"""The address of an index in object storage: `s3://BUCKET/[FOLDER/…]NAME`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rankrag.errors import ConfigError

SCHEME = "s3://"

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,62}")
_PART = re.compile(r"(?!\.{1,2}$)[^\x00-\x1f\x7f\\{}^%`\[\]\"<>~#|?*@]+")


@dataclass(frozen=True, slots=True)
class BucketPlace:
    """An index in a bucket: what its objects' keys begin with. Keys of access and the server's address are not here."""

    bucket: str
    prefix: str

    @property
    def name(self) -> str:
        """The index's own name."""
        return self.prefix.rpartition("/")[2]

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}"


def is_bucket(place: Path | str) -> bool:
    """Whether an index is named by an address in object storage."""
    return isinstance(place, str) and place.startswith(SCHEME)


def parse_bucket(address: str) -> BucketPlace:
    """Return the bucket and the prefix that an address names; `ConfigError` for one that holds a secret or a mistake.

    The message shows nothing of an address with an "@" but its end, since what stands before may be a secret.
    """
    if "@" in address or "?" in address:
        shown = f"{SCHEME}***@{address.rpartition('@')[2]}" if "@" in address else address
        raise ConfigError(
            f"{shown.partition('?')[0]}: an address holds neither '@' nor '?'; keys come from AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY or ~/.aws/credentials, the server from AWS_ENDPOINT_URL"
        )
    bucket, _, path = address.removeprefix(SCHEME).partition("/")
    parts = path.strip("/").split("/")
    if not _BUCKET.fullmatch(bucket):
        raise ConfigError(f"{address}: {bucket!r} cannot name a bucket; write s3://BUCKET/NAME")
    if not path.strip("/"):
        raise ConfigError(f"{address}: it names no index; write s3://BUCKET/NAME")
    for part in parts:
        if not _PART.fullmatch(part):
            raise ConfigError(f"{address}: {part!r} cannot be part of a name; take letters, digits, '-', '_' and '.'")
    return BucketPlace(bucket, "/".join(parts))
