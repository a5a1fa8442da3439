"""Every error that rankrag raises on purpose.

::

    RankragError              anything below; the command line prints it in one line and exits with 2
    ├── DataError             a file or a row that cannot be used: where, what was found, what to do
    ├── ConfigError           a configuration or an option that cannot be used
    ├── ContractError         a checkpoint whose scoring contract is missing, broken or does not fit its model
    ├── ModelError            a model that cannot be loaded or run
    ├── IndexStoreError       an index that cannot be opened, read or written
    └── MissingExtraError     a part that is not installed; the message names the extra
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class RankragError(Exception):
    """Base of all errors that carry a remedy for the user."""


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
    """A part that is not installed."""


class Mistakes:
    """What is wrong with a file, gathered, so that one `DataError` tells all of it."""

    SHOWN = 20
    """Mistakes that are written out; the rest are counted."""

    def __init__(self) -> None:
        self._found: list[str] = []

    def add(self, message: str | DataError) -> None:
        """Keep a mistake; the message says where it is and what to do."""
        self._found.append(str(message))

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Keep the `DataError` of the block, if there is one, and go on after it."""
        try:
            yield
        except DataError as error:
            self.add(error)

    def raise_any(self) -> None:
        """Raise one `DataError` with all that was kept; nothing where nothing was."""
        if self._found:
            more = len(self._found) - self.SHOWN
            raise DataError("; ".join(self._found[: self.SHOWN]) + (f"; and {more} more" if more > 0 else ""))


@contextmanager
def writing(place: Path, kind: type[RankragError], then: str) -> Iterator[None]:
    """Turn an `OSError` of the block, such as a full disk, into a `kind` that says where it was and what comes then.

    One that names a file elsewhere than in `place`, such as data that is read meanwhile, stays what it is.
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
    """Return the first line of what an error says, or its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
