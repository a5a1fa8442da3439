"""The address of a server: where it is, which tokenizer its model has, and how to ask it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args
from urllib.parse import parse_qsl, urlsplit

from rankrag.errors import ConfigError

Kind = Literal["vllm", "sglang", "llama.cpp", "generic"]

FORM = "http://HOST:PORT/v1?model=NAME#DIRECTORY"


@dataclass(frozen=True, slots=True)
class Address:
    """Parts of `http://HOST:PORT/v1?model=NAME&timeout=30#DIRECTORY`.

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
    timeout: float = 120.0
    retries: int = 4
    concurrency: int = 8


def is_address(name: str) -> bool:
    """Whether the name of a model is a server's address."""
    return name.startswith(("http://", "https://"))


def parse_address(text: str, default_directory: str) -> Address:
    """Return the parts of a server's address; `ConfigError` if it is not one, or has an unknown or wrong option."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigError(f"--model {text}: not an address; write {FORM}")
    found: dict[str, Any] = {"model": ""}
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if key not in _READ:
            raise ConfigError(f"--model {text}: {key!r} is not known; known are {', '.join(_READ)}")
        read, wanted = _READ[key]
        try:
            found[key] = read(value)
        except ValueError:
            raise ConfigError(f"--model {text}: {key}={value}: must be {wanted}") from None
    return Address(
        root=f"{parts.scheme}://{parts.netloc}",
        path=parts.path.rstrip("/") or "/v1",
        directory=parts.fragment or default_directory,
        named=bool(parts.fragment),
        **found,
    )


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise ValueError
    return number


def _from(least: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if (number := int(text)) < least:
            raise ValueError
        return number

    return read


def _kind(text: str) -> str:
    if text not in get_args(Kind):
        raise ValueError
    return text


_READ: dict[str, tuple[Callable[[str], Any], str]] = {
    "model": (str, "a name"),
    "kind": (_kind, f"one of {', '.join(get_args(Kind))}"),
    "timeout": (_seconds, "seconds above 0"),
    "retries": (_from(0), "a whole number from 0"),
    "concurrency": (_from(1), "a whole number from 1"),
}
