"""Addresses of indexes that are no folders, whatever they lead to."""

from __future__ import annotations

from pathlib import Path

from rankrag.retrieval.postgres.address import is_database, parse_database
from rankrag.retrieval.s3.address import is_bucket, parse_bucket


def is_remote(place: Path | str) -> bool:
    """Whether an index is named by an address and not by a folder, so that other machines may write to it."""
    return is_database(place) or is_bucket(place)


def checked_place(text: str) -> str:
    """Return where an index is; `ConfigError` for an address that holds a secret, before anything repeats it."""
    if is_database(text):
        return str(parse_database(text))
    return str(parse_bucket(text)) if is_bucket(text) else text


def own_name(place: Path | str) -> str:
    """Return the name of an index: its folder's, or the one that its address ends with."""
    if is_database(place):
        return parse_database(str(place)).schema
    return parse_bucket(str(place)).name if is_bucket(place) else Path(place).absolute().name
