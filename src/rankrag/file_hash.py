"""The hash that files are known again by."""

from __future__ import annotations

import hashlib
from pathlib import Path


def sha256(*paths: Path) -> str:
    """Return the SHA-256 of the files' bytes, one after the other; memory holds a block of them."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()
