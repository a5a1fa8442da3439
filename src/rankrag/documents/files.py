"""Which files are read: those of the known endings below the given paths."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rankrag.errors import DataError

ROWS = (".jsonl", ".jsonl.zst", ".tsv", ".tsv.zst")
"""Endings of files whose rows are passages; a `.tsv` without the columns id and text is a table like `.csv`."""

MAN = ".man"
"""The kind of a manual page, whose ending is the number of its section: `tar.1`, `fstab.5.gz`."""

READERS = {
    ".txt": "text:read_text",
    ".text": "text:read_text",
    ".rst": "text:read_rst",
    MAN: "man:read_man",
    ".md": "text:read_markdown",
    ".markdown": "text:read_markdown",
    ".html": "html:read_html",
    ".htm": "html:read_html",
    ".xhtml": "html:read_html",
    ".pdf": "pdf:read_pdf",
    ".docx": "word:read_docx",
    ".odt": "opendocument:read_odt",
    ".rtf": "rtf:read_rtf",
    ".epub": "epub:read_epub",
    ".pptx": "slides:read_pptx",
    ".csv": "tables:read_csv",
    ".tsv": "tables:read_csv",
    ".xlsx": "tables:read_xlsx",
    ".eml": "mail:read_mail",
}
"""Module of `formats/` and function by ending; each module is imported when its first file is read."""

READABLE = tuple(dict.fromkeys((*READERS, *ROWS)))
_SECTION = re.compile(r"\.[1-9](?:[a-z][a-z0-9]{0,5})?(?:\.gz)?$", re.IGNORECASE)
_MAN_HEAD = re.compile(rb"""^(?:\.TH\s|\.Dd\s|\.Dt\s|['.]\\"|\.so\s)""", re.MULTILINE)
_HEAD = 4_096  # bytes in which a manual page shows that it is one


@dataclass(frozen=True, slots=True)
class Found:
    """The files of some paths that can be read, in order, and how many of which other kinds were passed over."""

    files: tuple[Path, ...]
    passed_over: Counter[str]


def kind(path: Path) -> str:
    """Return the ending that says how a file is read, such as ".pdf" or ".jsonl.zst"."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    ending = "".join(suffixes[-2:]) if suffixes[-1:] == [".zst"] else "".join(suffixes[-1:])
    return MAN if ending not in READABLE and _SECTION.search(path.name) else ending


def find_files(paths: Sequence[Path]) -> Found:
    """Return the files below `paths`, folders walked in sorted order, hidden ones left out, no file twice.

    `DataError` for a path that is not there, a named file of an unknown kind, or folders that hold nothing readable.
    """
    files: dict[Path, None] = {}
    passed_over: Counter[str] = Counter()
    for path in paths:
        if os.path.isdir(path):
            for file in _walk(path, passed_over):
                if _can_be_read(file):
                    files[file] = None
                else:
                    passed_over["".join(file.suffixes[-1:]).lower() or file.name] += 1
        elif reason := _why_unseen(path):
            raise DataError(f"{path}: {reason}; check the name")
        elif kind(path) not in READABLE:
            raise DataError(f"{path}: cannot read files of this kind; readable are {' '.join(READABLE)}")
        else:
            files[path] = None
    if not files:
        names = ", ".join(map(str, paths))
        found = ", ".join(f"{count} {name}" for name, count in passed_over.most_common(5)) or "no files"
        raise DataError(f"{names}: nothing to read (found: {found}); readable are {' '.join(READABLE)}")
    return Found(tuple(files), passed_over)


def _can_be_read(file: Path) -> bool:
    found = kind(file)
    if found not in READABLE or not (os.path.isfile(file) or not os.path.exists(file)):
        return False
    return found != MAN or file.suffix.lower() == MAN or _is_manual(file)


def _is_manual(file: Path) -> bool:
    """Whether a file is a manual page by its text; `server.log.1` is none."""
    import gzip

    try:
        with gzip.open(file) if file.suffix.lower() == ".gz" else file.open("rb") as opened:
            return bool(_MAN_HEAD.search(opened.read(_HEAD)))
    except (OSError, EOFError):
        return False


def _why_unseen(path: Path) -> str:
    """Return why a file cannot even be looked at; nothing where it can."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return "no such file or folder"
    except OSError as error:
        return f"cannot be looked at ({error.strerror})"
    return ""


def _walk(folder: Path, passed_over: Counter[str]) -> Iterator[Path]:
    """Yield the files of a folder; links to folders are not followed, so there are no loops."""

    def count(_: OSError) -> None:
        passed_over["unreadable folder"] += 1

    for root, folders, names in os.walk(folder, onerror=count):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and not name.startswith("~$"):
                yield Path(root) / name
