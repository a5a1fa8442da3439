"""Files to text: one reader for each kind, by well-kept libraries, and clear errors for what cannot be read."""

from __future__ import annotations

import codecs
import logging
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rankrag.documents.chunking import Document, Section
from rankrag.errors import DataError

TEXT, MARKDOWN, ROWS = (".txt",), (".md", ".markdown"), (".jsonl", ".jsonl.zst")
READABLE = (*TEXT, *MARKDOWN, ".html", ".htm", ".pdf", ".docx", *ROWS)

_MARKS = {codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_HEADING = re.compile(r"^ {0,3}(#{1,6})[ \t]+(\S.*?)[ \t]*#*[ \t]*$", re.MULTILINE)
_FENCE = re.compile(r"^ {0,3}(```|~~~).*?(?:^ {0,3}\1|\Z)", re.MULTILINE | re.DOTALL)
_HYPHENATED = re.compile(r"(?<=[^\W\d_])-\n(?=[a-zà-ÿ])")


@dataclass(frozen=True, slots=True)
class Found:
    """The files of some paths that can be read, in order, and how many of which other kinds were passed over."""

    files: tuple[Path, ...]
    passed_over: Counter[str]


def kind(path: Path) -> str:
    """Return the ending that says how a file is read, such as ".pdf" or ".jsonl.zst"."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    return "".join(suffixes[-2:]) if suffixes[-1:] == [".zst"] else "".join(suffixes[-1:])


def find_files(paths: Sequence[Path]) -> Found:
    """Return the files below `paths`, folders walked in sorted order, hidden ones left out, no file twice.

    `DataError` for a path that is not there, a named file of an unknown kind, or folders that hold nothing readable.
    """
    files: dict[Path, None] = {}
    passed_over: Counter[str] = Counter()
    for path in paths:
        if path.is_dir():
            for file in _walk(path):
                if kind(file) in READABLE:
                    files[file] = None
                else:
                    passed_over[kind(file) or file.name] += 1
        elif not path.exists():
            raise DataError(f"{path}: no such file or folder; check the name")
        elif kind(path) not in READABLE:
            raise DataError(f"{path}: cannot read files of this kind; readable are {' '.join(READABLE)}")
        else:
            files[path] = None
    if not files:
        names = ", ".join(map(str, paths))
        found = ", ".join(f"{count} {name}" for name, count in passed_over.most_common(5)) or "no files"
        raise DataError(f"{names}: nothing to read (found: {found}); readable are {' '.join(READABLE)}")
    return Found(tuple(files), passed_over)


def read_document(path: Path) -> Document:
    """Return the text of a file that is not `.jsonl`; `DataError` says why it cannot be had."""
    found = kind(path)
    if found == ".pdf":
        return _read_pdf(path)
    if found in (".html", ".htm", ".docx"):
        return _read_with_markitdown(path)
    text = decoded(path)
    return _markdown(path, text) if found in MARKDOWN else _document(path, path.stem, text, [(0, None)])


def decoded(path: Path) -> str:
    """Return the text of a file: UTF-8, UTF-16 and UTF-32 with their marks, else what charset-normalizer finds."""
    data = path.read_bytes()
    for mark, name in _MARKS.items():
        if data.startswith(mark):
            return _checked(path, data.decode(name, errors="replace"))
    if b"\0" in data[: 1 << 20]:
        raise DataError(f"{path}: a binary file, not text; convert it to text, or leave it out")
    try:
        return _checked(path, data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        from charset_normalizer import from_bytes

        best = from_bytes(data[: 1 << 20]).best()
        if best is None:
            raise DataError(f"{path}: the encoding of its text is unknown; save it as UTF-8") from None
        return _checked(path, data.decode(best.encoding, errors="replace"))


def _walk(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):  # symbolic links to folders are not followed, so there are no loops
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and not name.startswith("~$"):
                yield Path(root) / name


def _markdown(path: Path, text: str, title: str | None = None) -> Document:
    """Return Markdown cut at its headings; `#` lines in code are none. The first heading of level 1 is the title."""
    code = [found.span() for found in _FENCE.finditer(text)]
    headings = [h for h in _HEADING.finditer(text) if not any(start <= h.start() < end for start, end in code)]
    first = next((h.group(2) for h in headings if len(h.group(1)) == 1), None)
    borders: list[tuple[int, str | None]] = [(0, None)] if not headings or headings[0].start() else []
    borders += [(h.start(), h.group(2)) for h in headings]
    return _document(path, title or first or path.stem, text, borders)


def _document(path: Path, title: str, text: str, borders: Sequence[tuple[int, str | None]]) -> Document:
    ends = [*(start for start, _ in borders[1:]), len(text)]
    sections = [Section(start, end, heading=head) for (start, head), end in zip(borders, ends, strict=True)]
    return Document(path.as_posix(), title, text, tuple(sections))


def _read_with_markitdown(path: Path) -> Document:
    import warnings
    import zipfile

    if kind(path) == ".docx" and not zipfile.is_zipfile(path):  # markitdown would take it for plain text
        raise DataError(f"{path}: a broken or foreign .docx file; save it anew from its program")

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its optional parts
        from markitdown import MarkItDown

        try:
            result = MarkItDown(enable_plugins=False).convert_local(path)
        except Exception as error:  # each of its readers raises its own
            reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
            raise DataError(
                f"{path}: a broken or foreign {kind(path)} file ({reason[0][:160]}); save it anew from its program"
            ) from None
    return _markdown(path, _checked(path, result.markdown), (result.title or "").strip() or None)


def _read_pdf(path: Path) -> Document:
    import pypdf
    from pypdf.errors import PyPdfError

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    try:
        with path.open("rb") as file:
            reader = pypdf.PdfReader(file)
            if reader.is_encrypted and not reader.decrypt(""):
                raise DataError(f"{path}: encrypted; remove its password (qpdf --decrypt) and index it again")
            pages = [_unwrapped(page.extract_text()) for page in reader.pages]
            title = str((reader.metadata and reader.metadata.title) or "").strip()
    except (DataError, MemoryError):
        raise
    except Exception as error:  # broken files make pypdf raise PyPdfError, and nearly anything else
        if "cryptography" in str(error) or "AES" in str(error):
            raise DataError(f"{path}: encrypted; remove its password (qpdf --decrypt) and index it again") from None
        what = str(error) if isinstance(error, PyPdfError) else f"{type(error).__name__}: {error}"
        raise DataError(f"{path}: a broken PDF ({what[:160]}); print it to PDF anew, or leave it out") from None
    if not any(page.strip() for page in pages):
        raise DataError(f"{path}: {len(pages)} pages without text, as scans are; run OCR over it (ocrmypdf) first")
    sections, start = [], 0
    for number, page in enumerate(pages, start=1):
        end = start + len(page) + 2
        sections.append(Section(start, end, page=number))
        start = end
    return Document(path.as_posix(), title or path.stem, "".join(f"{page}\n\n" for page in pages), tuple(sections))


def _unwrapped(page: str) -> str:
    """Return a page with words that were cut at line ends put together, and the lines of a paragraph joined."""
    text = _HYPHENATED.sub("", page.replace("\r\n", "\n"))
    return re.sub(r"[ \t]*(?<!\n)\n(?!\s*\n)[ \t]*", " ", text).strip()


def _checked(path: Path, text: str) -> str:
    if not text.strip():
        raise DataError(f"{path}: empty; there is nothing to index in it")
    return text
