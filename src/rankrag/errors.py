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
