"""Rows of data sets of a hub, read as they arrive."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from rankrag.config.blend import HubConfig
from rankrag.data.files import Located, Row
from rankrag.errors import DataError, MissingExtraError, first_line

INSTEAD = "name its file as 'rows' with the same reader"
"""The advice if a hub cannot be read."""


class HubUnreachableError(DataError):
    """No connection to the hub, so that there is no need to ask it for the next data set."""

    def __init__(self, name: str, reason: str, instead: str = INSTEAD) -> None:
        super().__init__(
            f"{name}: the hub cannot be reached ({reason}); check the network, or download the set and {instead}"
        )


def hub_rows(hub: HubConfig, instead: str = INSTEAD, origin: dict[str, str] | None = None) -> Iterator[Located]:
    """Yield the rows of a data set of a hub as they arrive; nothing but the row at hand is in memory.

    `instead` is the error's advice for a set that was downloaded otherwise; `origin` gets the `revision`.
    """
    try:
        import datasets
    except ImportError:
        raise MissingExtraError('reading a hub needs datasets; install it with: pip install "rankrag[blend]"') from None
    try:
        rows = _streamed(hub)
        if origin is not None and (commit := _revision(hub, rows)):
            origin["revision"] = commit
        for number, row in enumerate(rows, start=1):
            yield f"{hub.name} ({hub.split}, row {number})", dict(row)
    except ConnectionError as error:
        raise HubUnreachableError(hub.name, first_line(error), instead) from None
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise DataError(
            f"{hub.name}: cannot be read ({first_line(error)}); check name, subset and network, or download it and "
            f"{instead}"
        ) from None


def _streamed(hub: HubConfig) -> Iterable[Row]:
    """Return the rows of a data set of a hub, each read in its turn.

    A repository that also holds a loading script is refused (`RuntimeError`), whatever is asked of it; its data files
    are read by their addresses.
    """
    from datasets import load_dataset

    files = {hub.split: hub.files} if hub.files else None
    options = {"split": hub.split, "streaming": True}
    rows: Iterable[Row]
    try:
        rows = load_dataset(hub.name, hub.subset, data_files=files, revision=hub.revision, **options)
    except RuntimeError as error:
        if not hub.files or "scripts" not in str(error):
            raise
        at = f"@{hub.revision}" if hub.revision else ""
        form = "parquet" if ".parquet" in hub.files else "json"
        address = f"hf://datasets/{hub.name}{at}/{hub.files}"
        rows = load_dataset(form, data_files={hub.split: address}, **options)
    return rows


def _revision(hub: HubConfig, rows: object) -> str:
    """Return the commit of streamed rows, from the addresses of their files; else the revision that was asked for."""
    files = getattr(getattr(rows, "_ex_iterable", None), "kwargs", {})
    found = re.search(r"@([0-9a-f]{40})/", str(files))
    return found[1] if found else hub.revision or ""
