"""Which licences allow commercial use, by their usual names."""

from __future__ import annotations

import re

_ALLOWED = re.compile(
    r"\b(apache|mit|bsd|isc|cc0|cc[ -]by|cdla|odc|pddl|odbl|gpl|lgpl|mpl|public domain|unlicense)\b", re.IGNORECASE
)
_FORBIDDEN = re.compile(r"\bnc\b|non-?commercial|research|academic|evaluation only|openai", re.IGNORECASE)


def allows_commercial(licence: str) -> bool:
    """Whether a licence text allows commercial use. What is not known, or not stated, does not."""
    return bool(_ALLOWED.search(licence)) and not _FORBIDDEN.search(licence)
