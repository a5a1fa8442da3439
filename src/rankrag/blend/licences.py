"""What licences allow, by their usual names."""

from __future__ import annotations

import re
from collections.abc import Iterable

_ALLOWED = re.compile(
    r"\b(apache|mit|bsd|isc|cc0|cc[ -]by|cdla|odc|pddl|odbl|gpl|lgpl|mpl|public domain|unlicense|own documents)\b",
    re.IGNORECASE,
)
_FORBIDDEN = re.compile(r"\bnc\b|non-?commercial|research|academic|evaluation only|openai", re.IGNORECASE)


def allows_commercial(licence: str) -> bool:
    """Whether a licence text allows commercial use. What is not known, or not stated, does not."""
    return bool(_ALLOWED.search(licence)) and not _FORBIDDEN.search(licence)


def most_restrictive(licences: Iterable[str]) -> str:
    """Return the licence that allows least, the first of several; "" is one that is not stated, and allows nothing."""
    return max(licences, key=_restriction, default="")


def hub_licence(licence: str) -> str:
    """Return a licence as the hub's cards name it, `other` if it has no name there."""
    name = re.sub(r"[ _]+", "-", licence.partition("(")[0].strip().lower())
    return name if re.fullmatch(r"apache-2\.0|mit|cc0-1\.0|cc-by(-nc)?(-sa|-nd)?-[234]\.0", name) else "other"


def _restriction(licence: str) -> int:
    """Rank by what may be done: all, sharing alike, nothing changed (ND), nothing commercial, nothing."""
    if not licence:
        return 4
    if not allows_commercial(licence):
        return 3
    if re.search(r"\bnd\b|no-?deriv", licence, re.IGNORECASE):
        return 2
    return int(bool(re.search(r"\bsa\b|share|gpl|odbl", licence, re.IGNORECASE)))
