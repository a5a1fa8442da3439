"""Every error that rankrag raises on purpose.

All are `RankragError`: the command line prints it in one line and exits with 2. A message says where the problem is,
what was found and what to do.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class RankragError(Exception):
    """Base of all errors that tell the user what to do."""


class DataError(RankragError):
    """A file or row that cannot be used."""


class ConfigError(RankragError):
    """A configuration or option that cannot be used."""


class ContractError(RankragError):
    """A scoring contract that is missing, broken, or does not fit its model."""


class ModelError(RankragError):
    """A model that cannot be loaded or run."""


class IndexStoreError(RankragError):
    """An index that cannot be opened, read or written."""


class MissingExtraError(RankragError):
    """A part that is not installed; the message names the extra."""


class Mistakes:
    """Collects the mistakes in a file, so that one `DataError` lists them all."""

    SHOWN = 20
    """Mistakes to write out; the rest are only counted."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, message: str | DataError) -> None:
        """Add a mistake; the message says where it is and what to do."""
        self._found.append(str(message))

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Add the `DataError` that the block raises, if any, and continue after it."""
        try:
            yield
        except DataError as error:
            self.add(error)

    def raise_any(self) -> None:
        """Raise one `DataError` with all mistakes, if there are any."""
        if self._found:
            more = len(self._found) - self.SHOWN
            raise DataError("; ".join(self._found[: self.SHOWN]) + (f"; and {more} more" if more > 0 else ""))


@contextmanager
def writing(place: Path, kind: type[RankragError], then: str) -> Iterator[None]:
    """Turn an `OSError` in the block, such as a full disk, into a `kind` that says where it happened and what to do.

    An error about a file outside `place`, such as data that is read meanwhile, is raised unchanged.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error.filename, str | Path):
            ours, found = Path(os.path.abspath(place)), Path(os.path.abspath(error.filename))
            if found != ours and ours not in found.parents and found not in ours.parents:
                raise
        where, reason = error.filename or place, error.strerror or first_line(error)
        raise kind(f"{where}: cannot be written ({reason}); make room or choose another folder, {then}") from error


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type if it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
