"""The address of a server: where it is, which tokenizer its model has, and how to ask it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, TypeAdapter, ValidationError

from rankrag.errors import ConfigError

Kind = Literal["vllm", "sglang", "llama.cpp", "generic"]

FORM = "http://HOST:PORT/v1?model=NAME#DIRECTORY"


@dataclass(frozen=True, slots=True)
class Address:
    """Parts of `http://HOST:PORT/v1?model=NAME&timeout=30#DIRECTORY`; what stands after `?` are its options.

    Attributes:
        root: scheme, host and port.
        path: what stands before `/completions` and `/models`.
        model: its name there; empty where the server has one model.
        directory: holds the tokenizer and the contract of the served model.
        named: whether the address itself names the directory, instead of the caller's default.
        kind: which server it is; None finds out.
        timeout, retries: see `Remote`.
        concurrency: most requests at the same time.
    """

    root: str
    path: str
    model: str
    directory: str
    named: bool = True
    kind: Kind | None = None
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 120.0
    retries: Annotated[int, Field(ge=0)] = 4
    concurrency: Annotated[int, Field(ge=1)] = 8

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}


OPTIONS = ("model", "kind", "timeout", "retries", "concurrency")
"""Parts of an address that stand after `?`, as `key=value`."""


def is_address(name: str) -> bool:
    """Whether the name of a model is a server's address."""
    return name.startswith(("http://", "https://"))


def parse_address(text: str, default_directory: str) -> Address:
    """Return the parts of a server's address; `ConfigError` if it is not one, or has an unknown or wrong option."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigError(f"--model {text}: not an address; write {FORM}")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if unknown := sorted(options.keys() - set(OPTIONS)):
        raise ConfigError(f"--model {text}: {unknown[0]!r} is not known; known are {', '.join(OPTIONS)}")
    where = {
        "root": f"{parts.scheme}://{parts.netloc}",
        "path": parts.path.rstrip("/") or "/v1",
        "directory": parts.fragment or default_directory,
        "named": bool(parts.fragment),
    }
    try:
        return _reader().validate_python({"model": "", **options, **where})
    except ValidationError as error:
        (key, *_), said = error.errors()[0]["loc"], error.errors()[0]["msg"].replace("Input should", "must")
        raise ConfigError(f"--model {text}: {key}={options[str(key)]}: {said}") from None


@cache
def _reader() -> TypeAdapter[Address]:
    return TypeAdapter(Address)
