"""Files to text: one reader for each kind, by well-kept libraries, and clear errors for what cannot be read."""

from __future__ import annotations

import io
import logging
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from rankrag.documents.chunking import Document, Section
from rankrag.documents.decoding import PART, open_text
from rankrag.errors import DataError

TEXT, MARKDOWN, ROWS = (".txt",), (".md", ".markdown"), (".jsonl", ".jsonl.zst", ".tsv", ".tsv.zst")
READABLE = (*TEXT, *MARKDOWN, ".html", ".htm", ".pdf", ".docx", *ROWS)

_HEADING_OR_FENCE = re.compile(r"^ {0,3}(?:(?P<marks>#{1,6})[ \t]+(?P<heading>\S.*)|(?P<fence>```|~~~))", re.MULTILINE)
_LINK = re.compile(r"\[([^][]*)\]\([^()]*\)")
_HYPHENATED = re.compile(r"\u00ad\n?|(?<=[^\W\d_])-\n(?=[a-zà-ÿ])")


class NoTextError(DataError):
    """A file that can be read and holds no text."""


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
        if os.path.isdir(path):
            for file in _walk(path, passed_over):
                if kind(file) in READABLE and (os.path.isfile(file) or not os.path.exists(file)):
                    files[file] = None
                else:
                    passed_over[kind(file) or file.name] += 1
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


def read_document(path: Path, *, part: int = PART) -> Document:
    """Return the text of a file that is not `.jsonl`; `DataError` says why it cannot be had.

    The title is the PDF's or the page's own, else the first heading of level 1, else the file's name. Plain text and
    Markdown are read while the document is, `part` characters at a time. `OSError` is passed on.
    """
    if path.stat().st_size == 0:
        raise _empty(path)
    found = kind(path)
    if found == ".pdf":
        return _read_pdf(path)
    if found in (".html", ".htm", ".docx"):
        return _read_with_markitdown(path)
    text = open_text(path, part=part)
    if not any(map(str.strip, text)):
        raise _empty(path)
    if found in MARKDOWN:
        return _markdown(path, text)
    return Document(path.as_posix(), path.stem, (Section(0, text),))


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


class _Headed(NamedTuple):
    """Some Markdown of one section and its place, after the section's number, level and heading."""

    section: int
    level: int
    heading: str | None
    start: int
    text: str


def _markdown(path: Path, parts: Iterable[str], title: str | None = None) -> Document:
    """Return Markdown cut at its headings, which are known by their whole path; `#` lines in code are none.

    Without a title the parts are gone through once to find it, and again by whoever reads the sections.
    """
    if not title:
        title = next((of.heading for of in _headed(parts) if of.level == 1 and of.heading), None)
    return Document(path.as_posix(), title or path.stem, _sections(parts))


def _sections(parts: Iterable[str]) -> Iterator[Section]:
    with_text = (of for of in _headed(parts) if of.text)
    for _, section in groupby(with_text, key=attrgetter("section")):
        first = next(section)
        yield Section(first.start, (of.text for of in chain([first], section)), heading=first.heading)


def _headed(parts: Iterable[str]) -> Iterator[_Headed]:
    here, fence = _Headed(0, 0, None, 0, ""), ""
    above: list[tuple[int, str]] = []
    for lines in _whole_lines(parts):
        begin = 0
        for found in _HEADING_OR_FENCE.finditer(lines):
            if fence or found["fence"]:
                fence = "" if found["fence"] == fence else fence or found["fence"]
                continue
            yield here._replace(text=lines[begin : found.start()])
            level, heading = len(found["marks"]), _plain(found["heading"])
            above = [*((other, name) for other, name in above if other < level), (level, heading)]
            path = " > ".join(name for _, name in above)
            here = _Headed(here.section + 1, level, path, here.start + found.start() - begin, "")
            begin = found.start()
        yield here._replace(text=lines[begin:])
        here = here._replace(start=here.start + len(lines) - begin)


def _whole_lines(parts: Iterable[str]) -> Iterator[str]:
    """Yield the parts anew, so that no line is in two of them."""
    held: list[str] = []
    for part in parts:
        cut = part.rfind("\n") + 1
        if cut:
            yield "".join([*held, part[:cut]])
            held.clear()
        held.append(part[cut:])
    yield "".join(held)


def _plain(heading: str) -> str:
    """Return a heading of at most 200 characters, without closing marks, links and emphasis."""
    heading = " ".join(heading[:2_000].split())
    bare = heading.rstrip("#")
    return _LINK.sub(r"\1", bare if bare.endswith(" ") else heading).replace("**", "").replace("`", "").strip()[:200]


def _read_with_markitdown(path: Path) -> Document:
    # decoded here: markitdown judges the encoding by the first bytes alone
    data = path.read_bytes() if kind(path) == ".docx" else "".join(open_text(path)).encode()
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # of its optional parts, and of pages nested too deeply, which become plain text
        from markitdown import StreamInfo
        from markitdown.converters import DocxConverter, HtmlConverter

        converter = DocxConverter() if kind(path) == ".docx" else HtmlConverter()
        try:
            result = converter.convert(io.BytesIO(data), StreamInfo(extension=kind(path), charset="utf-8"))
        except MemoryError:
            raise
        except Exception as error:  # each of its libraries raises its own
            what = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise DataError(
                f"{path}: a broken or foreign {kind(path)} file ({what[:160]}); save it anew from its program"
            ) from None
    text = "\n".join(line.rstrip() for line in result.markdown.encode(errors="replace").decode().split("\n"))
    if not text.strip():
        raise _empty(path)
    return _markdown(path, [text], " ".join((result.title or "").split()) or None)


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
        raise NoTextError(f"{path}: {len(pages)} pages without text, as scans are; run OCR over it (ocrmypdf) first")
    sections, start = [], 0
    for number, page in enumerate(pages, start=1):
        sections.append(Section(start, [f"{page}\n\n"], page=number))
        start += len(page) + 2
    return Document(path.as_posix(), title or path.stem, sections)


def _unwrapped(page: str) -> str:
    """Return a page with words that were cut at line ends put together, and the lines of a paragraph joined."""
    lines = "\n".join(line.strip() for line in page.encode(errors="replace").decode().split("\n"))
    return re.sub(r"(?<!\n)\n(?!\n)", " ", _HYPHENATED.sub("", lines)).strip()


def _empty(path: Path) -> NoTextError:
    return NoTextError(f"{path}: empty; there is nothing to index in it")
