"""Names of documents in an index: a file's path, with a part below it where the file is large."""

from __future__ import annotations

import re

LAST = "end"
"""The name of a file's last part: where it stands, all parts do."""

_PART = re.compile(rf"/(?:\d{{6,}}|{LAST})$")


def part_name(number: int) -> str:
    """Return the name of a part that is not the last one; parts are numbered from 0."""
    return f"{number:06d}"


def file_of(name: str) -> str:
    """Return the path of the file that a document is, or is a part of."""
    return _PART.sub("", name)
