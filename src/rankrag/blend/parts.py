"""The finished sources of a blend that is still being made, so that a killed run goes on with them.

A part is two files: the examples of a source, and then, as the sign that they are complete, its entry in the manifest.
Their name is a digest of everything the examples depend on, so a part of other settings, data or code is not taken.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from typing import Any

from rankrag.blend.contamination import evaluation_files
from rankrag.blend.weights import Slot
from rankrag.config.blend import BlendConfig, SourceConfig
from rankrag.data.examples import example_line
from rankrag.data.files import sha256, write_whole
from rankrag.data.journal import content_key
from rankrag.errors import DataError, writing
from rankrag.types import Example

GOES_ON = "the same command goes on with the sources that are done"

_OF_SOURCES = {"data", "sources", "weights", "counts", "examples", "fit", "writing"}
"""Keys of a blend that bear on a source by its own settings, its files and its share alone."""


MAKERS = ("matching.py", "retrieval/lexical.py", "templates.py", "types.py")
"""The files outside `blend` and `data` that examples depend on: a part that other code made is made again."""


@dataclass(frozen=True, slots=True)
class BlendPart:
    """The examples of one source in a file: the bytes of each group, in order, and what the manifest says of them.

    `contamination` counts the overlap with evaluation sets, by set.
    """

    file: Path
    groups: tuple[int, ...]
    entry: dict[str, Any]
    contamination: dict[str, dict[str, int]]


class BlendParts:
    """The parts of one blend, in a folder that is there only while the blend is being made."""

    def __init__(self, folder: Path, config: BlendConfig) -> None:
        self._folder = folder
        self._config = config
        self._sha256: Callable[[Path], str] = cache(sha256)

    def find(self, wanted: SourceConfig, slots: Sequence[Slot]) -> BlendPart | None:
        """Return the part of a source for these slots of the blend, None if it is still to be made."""
        file = self._file(wanted, slots)
        try:
            said = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
            whole = file.stat().st_size == sum(said["groups"])
        except (OSError, ValueError):
            return None
        return BlendPart(file, tuple(said["groups"]), said["entry"], said["contamination"]) if whole else None

    def write(
        self,
        wanted: SourceConfig,
        slots: Sequence[Slot],
        groups: Iterable[Sequence[Example]],
        entry: Callable[[], dict[str, Any]],
        contamination: dict[str, dict[str, int]],
    ) -> BlendPart:
        """Write the groups of a source as they come; `entry` is asked for what the manifest says after the last one."""
        file = self._file(wanted, slots)
        with writing(self._folder, DataError, GOES_ON):
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("wb") as out:
                sizes = [out.write(b"".join(map(example_line, group))) for group in groups]
                out.flush()
                os.fsync(out.fileno())
            part = BlendPart(file, tuple(sizes), entry(), contamination)
            said = {"groups": sizes, "entry": part.entry, "contamination": contamination}
            write_whole(file.with_suffix(".json"), json.dumps(said, ensure_ascii=False))
        return part

    def delete(self) -> None:
        """Delete the folder, and with it the parts of runs with other settings."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _file(self, wanted: SourceConfig, slots: Sequence[Slot]) -> Path:
        config = self._config
        data = Path(config.data)
        files = [data / name for name in (wanted.rows, wanted.corpus) if name]
        files += [file for one in config.evaluation for file in evaluation_files(one, data)]
        depends_on = [
            wanted.model_dump(mode="json"),
            config.model_dump(mode="json", exclude=_OF_SOURCES),
            [[slot.key, sorted(slot.kinds), slot.examples] for slot in slots if slot.source == wanted.name],
            [self._sha256(file) if file.is_file() else "" for file in files],
            _code(),
        ]
        return self._folder / f"{content_key(depends_on)}.jsonl"


def lines(parts: Sequence[BlendPart], order: Sequence[int]) -> Iterator[bytes]:
    """Yield the lines of all parts' groups in this order; memory holds one group."""
    places = [
        (number, start, size)
        for number, part in enumerate(parts)
        for start, size in zip(accumulate(part.groups, initial=0), part.groups, strict=False)
    ]
    with ExitStack() as stack:
        files = [stack.enter_context(part.file.open("rb")) for part in parts]
        for group in order:
            number, start, size = places[group]
            files[number].seek(start)
            yield from files[number].read(size).splitlines(keepends=True)


@cache
def _code() -> list[str]:
    """Return a digest of the code that makes examples, and the version of the library that mines them."""
    package = Path(__file__).parents[1]
    ours = [path for part in ("blend", "data") for path in sorted((package / part).glob("*.py"))]
    ours += [package / name for name in MAKERS]
    return [sha256(*ours), version("bm25s") if find_spec("bm25s") else ""]
