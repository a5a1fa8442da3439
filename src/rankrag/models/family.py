"""The models that rankrag brings: each one a base from elsewhere and an adapter package of ours.

`bases.json` says where a base's file comes from and how it is known: its hash decides, never the name of its carrier.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rankrag.errors import ModelError

MINI, SMALL, BASE = "rankrag-mini", "rankrag-small", "rankrag-base"
FAMILY = (MINI, SMALL, BASE)
"""From the smallest to the largest."""

AUTO = "auto"
"""Stands for the best of the family that answers in acceptable time here (`models.auto`)."""

ADAPTER_FILES = ("adapter_model.safetensors", "adapter_config.json")
CONTRACT_FILE = "rankrag_config.json"

_BASE = "-base"


@dataclass(frozen=True, slots=True)
class Slice:
    """A slice of a base's file in the package index: a wheel's name and version, and the file in it."""

    requirement: str
    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class BaseFile:
    """A base as one GGUF file.

    Attributes:
        name: what an adapter calls it, such as "rankrag-small-base".
        model: its name in the world.
        parts: what it is joined from, in order, out of the package index.
        repository, revision: where a hub has it whole; empty if none has.
        package: the module of an installed package that holds it whole; empty if none does.
        parameters: of the model, with tied embeddings.
    """

    name: str
    model: str
    file: str
    bytes: int
    sha256: str
    licence: str
    parameters: int
    parts: tuple[Slice, ...]
    repository: str = ""
    revision: str = ""
    package: str = ""

    @property
    def megabytes(self) -> int:
        """Its size as people read it."""
        return round(self.bytes / 1e6)


@cache
def bases() -> dict[str, BaseFile]:
    """Return the bases by name."""
    rows = json.loads(Path(__file__).with_name("bases.json").read_text("utf-8"))
    found = [BaseFile(**{**row, "parts": tuple(Slice(**part) for part in row["parts"])}) for row in rows]
    return {base.name: base for base in found}


def base_of(name: str) -> BaseFile:
    """Return the base of a member of the family, or the one of that name."""
    return bases()[name if name in bases() else name + _BASE]


def is_known(name: str) -> bool:
    """Whether this names a member of the family, or the base of one."""
    return name in FAMILY or name in bases()


def package_dir(name: str) -> Path | None:
    """Return the directory of a member's adapter package: the installed one, else the one in this checkout."""
    module = name.replace("-", "_")
    spec = importlib.util.find_spec(module)
    if spec is not None and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    checkout = Path(__file__).parents[3] / "models" / name / "src" / module
    return checkout if (checkout / CONTRACT_FILE).is_file() else None


def adapter_dir(name: str) -> Path:
    """Return the directory of a member's adapter package; `ModelError` says how to install it."""
    found = package_dir(name)
    if found is None:
        raise ModelError(f"{name} is not installed; from a checkout of rankrag run: pip install ./models/{name}")
    return found


def is_trained(name: str) -> bool:
    """Whether a member's package is at hand and holds an adapter; without one, the member is its base."""
    found = package_dir(name)
    return found is not None and (found / ADAPTER_FILES[0]).is_file()
