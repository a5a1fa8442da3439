"""A file to its text: one reader for each format, and one line for what cannot be read.

A new format is a file in `formats/` and a line in `files.READERS`.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from rankrag.documents.document import Document
from rankrag.documents.files import READERS, kind
from rankrag.errors import DataError, MissingExtraError

Reader = Callable[[Path, bytes, str], Document]


class NoTextError(DataError):
    """A file that can be read and holds no text."""


def read_document(path: Path, *, ocr: bool = False) -> Document:
    """Return the text of a file that holds no rows; `DataError` says why it cannot be had.

    The title is the file's own statement, else its first heading of level 1, else its name. With `ocr`, scanned pages
    of a PDF are read by OCR. `OSError` is passed on.
    """
    data = path.read_bytes()
    if ocr and kind(path) == ".pdf":
        from rankrag.documents.formats.ocr import with_text

        data = with_text(data, str(path))
    return read_bytes(path, data, str(path))


def read_bytes(path: Path, data: bytes, where: str) -> Document:
    """Return the text of the bytes of a file; `path` names the document and its kind, `where` stands in errors."""
    if not data:
        raise NoTextError(f"{where}: empty; there is nothing to index in it")
    module, _, name = READERS[kind(path)].partition(":")
    try:
        reader: Reader = getattr(import_module(f"rankrag.documents.formats.{module}"), name)
        document = reader(path, data, where)
    except (DataError, MissingExtraError, MemoryError):
        raise
    except RecursionError:
        raise DataError(f"{where}: nested too deeply to be read; save it anew from its program") from None
    except Exception as error:  # a broken file makes libraries raise nearly anything
        what = f"{type(error).__name__}: {' '.join(str(error).split())}"
        message = f"{where}: a broken or foreign {kind(path)} file ({what[:160]}); save it anew from its program"
        raise DataError(message) from None
    if not any(section.text.strip() for section in document.sections):
        raise NoTextError(_why_empty(document, where))
    return document


def _why_empty(document: Document, where: str) -> str:
    if kind(Path(document.path)) == ".pdf":
        pages = len(document.sections)
        return f"{where}: {pages} pages without text, as scans are; run OCR over it (ocrmypdf), or index with --ocr"
    said = "; ".join(note.text for note in document.notes)
    return f"{where}: empty; there is nothing to index in it" + (f" ({said})" if said else "")
