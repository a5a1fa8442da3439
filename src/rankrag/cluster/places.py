"""Names of files for workers, which run in other folders: what is relative here is absolute there."""

from __future__ import annotations

import os

from rankrag.errors import ConfigError
from rankrag.models.address import is_address
from rankrag.models.family import AUTO


def same_anywhere(name: str) -> str:
    """Return the name of a model, an index or a folder so that every process on this machine understands it.

    What is no file here is left as it is: a hub id, a database's address, a word. A server's address gets its directory
    made absolute. `ConfigError` for the model "auto", which each node would choose by itself.
    """
    if name == AUTO:
        raise ConfigError(f"--model {AUTO}: the nodes of a cluster may choose different models; name one of them")
    if is_address(name):
        address, hash_, directory = name.partition("#")
        return f"{address}{hash_}{same_anywhere(directory)}" if directory else name
    return os.path.abspath(name) if os.path.exists(name) else name
