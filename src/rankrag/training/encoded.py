"""A blend's examples as token ids, made once and kept for later runs with the same tokenizer and limits.

Kept in the blend's folder as `encoded-KEY.npz`: six flat arrays, so that a file of some hundred MB loads in seconds.
Every prefix is stored once. KEY is a digest of all that the ids depend on.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from rankrag.contract import Contract
from rankrag.data.examples import read_examples
from rankrag.data.files import sha256
from rankrag.encoding import PromptEncoder
from rankrag.training.rows import EncodedExample, encode_examples
from rankrag.training.step_report import Say
from rankrag.types import Example

KEPT_FILES = 3
"""Newest files that stay in a blend's folder."""

MAKERS = ("data/examples.py", "data/files.py", "data/rows.py", "encoding.py", "templates.py", "training/rows.py")
"""The files that ids depend on: what other code encoded is encoded again, whatever its version."""

SAY_EVERY = 20_000
"""Examples between two lines while they are encoded."""


def encoded_blend(
    encoder: PromptEncoder, examples: Path, limit: int, *, tokenizer_sha256: str, say: Say = lambda _: None
) -> Iterator[tuple[Example, EncodedExample]]:
    """Yield a blend's examples, in order, with their token ids, at most `limit` each.

    Of several processes that start at once, one encodes and the others read what it kept. If nothing can be kept,
    `say` gets a line and every run encodes anew.
    """
    found = examples.with_name(f"encoded-{_key(encoder.contract, examples, limit, tokenizer_sha256)}.npz")
    try:
        with FileLock(examples.with_name("encoded.lock")):
            encoded = _read(found)
            if encoded is None:
                encoded = _encoded(encoder, examples, limit, say)
                _write(found, encoded)
    except OSError as error:
        say(f"{examples.parent}: encoded examples cannot be kept there ({error.strerror or error})")
        encoded = _encoded(encoder, examples, limit, say)
    return zip(read_examples(examples), encoded, strict=True)


def _encoded(encoder: PromptEncoder, examples: Path, limit: int, say: Say) -> list[EncodedExample]:
    found: list[EncodedExample] = []
    # the command line switches the tokenizer's threads off, because libraries fork; nothing forks in here
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    for _, one in encode_examples(encoder, read_examples(examples), limit):
        found.append(one)
        if len(found) % SAY_EVERY == 0:
            say(f"Encoding the blend: {len(found):,} examples")
    if before is None:
        del os.environ["TOKENIZERS_PARALLELISM"]
    else:
        os.environ["TOKENIZERS_PARALLELISM"] = before
    return found


def _key(contract: Contract, examples: Path, limit: int, tokenizer_sha256: str) -> str:
    parts = {
        "code": sha256(*(Path(__file__).parents[1] / name for name in MAKERS)),
        "blend": sha256(examples),
        "tokenizer": tokenizer_sha256,
        "format": asdict(contract.format),
        "limits": [contract.passage_tokens, contract.max_tokens, limit],
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _write(path: Path, encoded: Sequence[EncodedExample]) -> None:
    prefixes: dict[tuple[int, ...], int] = {}
    places = [prefixes.setdefault(one.prefix, len(prefixes)) for one in encoded]
    problems = {place: one.problem for place, one in enumerate(encoded) if one.problem}
    arrays = {
        **_flat("prefix", list(prefixes)),
        **_flat("ids", [one.ids for one in encoded]),
        **_flat("target", [one.target for one in encoded]),
        "prefix_of": np.array(places, np.int32),
        "problems": np.frombuffer(json.dumps(problems).encode(), np.uint8),
    }
    partial = path.with_suffix(".partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, **arrays)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    for old in sorted(path.parent.glob("encoded-*.npz"), key=lambda p: p.stat().st_mtime)[:-KEPT_FILES]:
        old.unlink()


def _read(path: Path) -> list[EncodedExample] | None:
    """Return what was kept; None if there is nothing, or if the file is damaged and has to be made anew."""
    bad = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
    with suppress(*bad), path.open("rb") as whole, np.load(whole) as file:
        prefixes, ids, targets = (_rows(file, name) for name in ("prefix", "ids", "target"))
        problems = json.loads(file["problems"].tobytes())
        return [
            EncodedExample(prefixes[prefix], own, target, problems.get(str(place), ""))
            for place, (prefix, own, target) in enumerate(zip(file["prefix_of"].tolist(), ids, targets, strict=True))
        ]
    return None


def _flat(name: str, rows: Sequence[tuple[int, ...]]) -> dict[str, Any]:
    ends = np.cumsum([0, *map(len, rows)])
    return {name: np.array([i for row in rows for i in row], np.int32), f"{name}_ends": ends}


def _rows(file: Any, name: str) -> list[tuple[int, ...]]:
    flat = file[name].tolist()
    return [tuple(flat[start:end]) for start, end in pairwise(file[f"{name}_ends"].tolist())]
