"""Text files of any size, decoded in parts, so that a large one takes no more memory than a small one."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rankrag.errors import DataError

PART = 1 << 20
"""Bytes that are looked at, or characters that are decoded, at a time."""

_SAMPLE = 1 << 15  # bytes
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True, slots=True)
class TextFile:
    """The text of a file, in parts of at most `part` characters; whoever goes through it reads the file anew.

    Line ends stay as they are. What is no text in this encoding, and a lone surrogate, which no index takes, comes as
    a mark in its place.
    """

    path: Path
    encoding: str
    part: int

    def __iter__(self) -> Iterator[str]:
        with self.path.open(encoding=self.encoding, errors="replace", newline="") as file:
            while text := file.read(self.part):
                yield text.encode(errors="replace").decode()


def open_text(path: Path, *, part: int = PART) -> TextFile:
    """Return the text of a file: UTF-8, UTF-16 and UTF-32 with their marks, else what charset-normalizer finds.

    `DataError` for a binary file, damaged UTF-16 or UTF-32, and an encoding that is unknown; `OSError` is passed on.
    """
    with path.open("rb") as file:
        start = file.read(4)
    name = next((name for mark, name in _MARKS.items() if start.startswith(mark)), "utf-8")
    eight = name.startswith("utf-8")
    if eight and any(b"\0" in block for block in _blocks(path, part)):
        raise DataError(f"{path}: a binary file, not text; convert it to text, or leave it out")
    if damage := _damage(path, "utf-8" if eight else name, part):
        bad, reason = damage
        if not eight:
            raise DataError(f"{path}: damaged {name.upper()} ({reason} at byte {bad}); save it anew")
        name = _guessed_encoding(path, bad)
    return TextFile(path, name, part)


def _damage(path: Path, encoding: str, part: int) -> tuple[int, str] | None:
    """Return the place of the first byte that is no text in this encoding, and why it is none; `None` without one."""
    decoder = codecs.getincrementaldecoder(encoding)()
    done = 0
    for block in _blocks(path, part):
        held = len(decoder.getstate()[0])
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            return done - held + error.start, error.reason
        done += len(block)
    return None


def _blocks(path: Path, size: int) -> Iterator[bytes]:
    """Yield the bytes of a file in blocks, and an empty block at its end."""
    with path.open("rb") as file:
        while block := file.read(size):
            yield block
    yield b""


def _guessed_encoding(path: Path, bad: int) -> str:
    """Return the likely encoding, judged by the stretch around the first byte that is not UTF-8."""
    from charset_normalizer import from_bytes

    with path.open("rb") as file:
        begin = file.seek(max(0, bad - _SAMPLE))
        best = from_bytes(file.read(bad + _SAMPLE - begin)).best()
    if best is None:
        raise DataError(f"{path}: the encoding of its text is unknown; save it as UTF-8")
    return best.encoding
