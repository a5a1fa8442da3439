"""Scanned pages of PDFs, read by the OCR programs of the machine."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from rankrag.errors import DataError, MissingExtraError

_SECONDS = 3_600


def with_text(data: bytes, where: str) -> bytes:
    """Return a PDF whose scanned pages have text: by ocrmypdf, else page by page by tesseract."""
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder, "in.pdf"), Path(folder, "out.pdf")
        source.write_bytes(data)
        if program := shutil.which("ocrmypdf"):
            _run([program, "--skip-text", "--quiet", str(source), str(made)], where)
            return made.read_bytes() if made.is_file() else data
        if program := shutil.which("tesseract"):
            return _by_tesseract(program, data, Path(folder), where)
    raise MissingExtraError("--ocr needs ocrmypdf or tesseract; install one of them (apt install ocrmypdf)")


def _by_tesseract(program: str, data: bytes, folder: Path, where: str) -> bytes:
    """Return a PDF with the pages that have text, and with those that tesseract made of the others."""
    import pypdfium2

    with pypdfium2.PdfDocument(data) as pdf, pypdfium2.PdfDocument.new() as whole:
        for number in range(len(pdf)):
            if pdf[number].get_textpage().count_chars():
                whole.import_pages(pdf, [number])
                continue
            picture, page = folder / f"{number}.png", folder / f"{number}"
            pdf[number].render(scale=300 / 72).to_pil().save(picture)
            _run([program, str(picture), str(page), "pdf"], where)
            with pypdfium2.PdfDocument(page.with_suffix(".pdf").read_bytes()) as read:
                whole.import_pages(read)
        made = folder / "whole.pdf"
        whole.save(str(made))
        return made.read_bytes()


def _run(command: list[str], where: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DataError(
            f"{where}: OCR failed ({type(error).__name__}); run it by hand, then index its result"
        ) from None
    if done.returncode not in (0, 6, 10):  # ocrmypdf: the pages have text already; its result is no PDF/A
        said = " ".join(done.stderr.decode(errors="replace").split())[-160:]
        raise DataError(f"{where}: OCR failed ({said}); run it by hand, then index its result")
