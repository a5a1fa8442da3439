"""PDF by PDFium: pages in reading order, words whole, filled-in fields read, missing text named."""

from __future__ import annotations

import ctypes
import re
import unicodedata
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rankrag.documents.document import Document, Note, Section, clean, one_line
from rankrag.documents.formats.columns import Word, paragraphs
from rankrag.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

_HYPHEN = re.compile(r"((?:[^\W\d_]+[-\u2010])*[^\W\d_]+)[-\u2010\xad\ufffe\x02]\n(?=([^\W\d_]+))")
_COMPOUND = re.compile(r"[^\W\d_]+(?:[-\u2010][^\W\d_]+)+")
_WORD = re.compile(r"[^\W\d_]+")
_FIRST_HALVES = frozenset("long well self high half two three four five six third vice cross user large small".split())  # noqa: SIM905
_ENDINGS = ("er", "est", "ly", "ing", "ed", "en", "ware", "itude")
_PROGRAMS = re.compile(
    r"\.(?:docx?|odt|rtf|indd|qxd|tex|dvi|ps|eps|pdf|pptx?|xlsx?|txt|html?|fm|p65|pmd|cdr|ai|wpd|pages|jpe?g|tiff?)\b",
    re.IGNORECASE,
)
_NO_TITLE = re.compile(
    r"untitled.*|document\d*|microsoft word.*|microsoft powerpoint.*|slide \d+|title|no title|unknown|scan.*|\W*|"
    r"powerpoint[- ]pr[äe]sentation|unbenannt.*|sans titre.*|sin título.*|layout \d+|print",
    re.IGNORECASE,
)
_FOLDED = re.compile("[\ufb00-\ufb4f\ufb50-\ufdff\ufe70-\ufeff\u2f00-\u2fd5\uff01-\uff5e\u0132\u0133\u01c4-\u01cc]")
_FEW = 40  # characters; a page with fewer below a picture of most of its area is a scan


def read_pdf(path: Path, data: bytes, where: str) -> Document:
    """Return the text of a PDF, a section a page; a page without text is an empty section."""
    import pypdfium2

    try:
        pdf = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise DataError(f"{where}: encrypted; remove its password (qpdf --decrypt) and index it again") from None
        raise DataError(f"{where}: a broken PDF ({one_line(str(error))[:160]}); print it to PDF anew") from None
    try:
        reader = _Reader(pdf)
        pages = reader.pages()
        title = _title(pdf.get_metadata_dict().get("Title", ""), path.stem)
        return _document(path, title, pages, reader.notes)
    except pypdfium2.PdfiumError as error:
        raise DataError(f"{where}: a broken PDF ({one_line(str(error))[:160]}); print it to PDF anew") from None
    finally:
        pdf.close()


def _document(path: Path, title: str, pages: list[str], notes: list[Note]) -> Document:
    whole = _known_words(pages)
    sections, start = [], 0
    for number, page in enumerate(pages, start=1):
        text = f"{_unwrapped(page, whole)}\n\n"
        sections.append(Section(start, text, page=number, bare=not text.strip()))
        start += len(text)
    return Document(path.as_posix(), title or path.stem, tuple(sections), tuple(notes))


class _Reader:
    """The pages of a file, one by one."""

    def __init__(self, pdf: Any) -> None:
        self.notes: list[Note] = []
        self._pdf = pdf
        self._forms = pdf.get_formtype() != 0
        if self._forms:
            pdf.init_forms()
        names = [pdf.get_attachment(place).get_name() for place in range(pdf.count_attachments())]
        self.notes += [
            Note(f"the attachment {one_line(name)} is not read; save it as a file of its own") for name in names
        ]

    def pages(self) -> list[str]:
        """Return the text of each page, a line end where the page has one."""
        found, scans = list[str](), list[int]()
        for number in range(1, len(self._pdf) + 1):
            try:
                text, scanned = self._page(number)
            except Exception as error:  # damage in one page must not take the others
                if isinstance(error, MemoryError):
                    raise
                text, scanned = "", False
                self.notes.append(Note(f"page {number} is damaged ({one_line(str(error))[:80]})"))
            found.append(text)
            if scanned:
                scans.append(number)
        if scans:
            plural = "pages" if len(scans) > 1 else "page"
            have = "have" if len(scans) > 1 else "has"
            text = f"{plural} {ranges(scans)} {have} no text, as scans have; run OCR (ocrmypdf), or index with --ocr"
            self.notes.append(Note(text))
        return found

    def _page(self, number: int) -> tuple[str, bool]:
        """Return the text of a page, and whether it is a picture without text."""
        page = self._pdf[number - 1]
        try:
            values = self._fields(page) if self._forms else []
            if self._forms:
                page.flatten()  # fields and remarks become part of the page
                page.close()
                page = self._pdf[number - 1]
            words, unmapped = _words(page)
            text = "\n\n".join("\n".join(lines) for lines in paragraphs(words, page.get_width()))
            missing = [f"{name}: {value}" for name, value in values if one_line(value) not in one_line(text)]
            text = "\n\n".join(filter(None, [text, *missing]))
            if unmapped > max(3, len(text) / 50):
                self.notes.append(Note(f"page {number}: {unmapped} characters have no meaning in the file's fonts"))
            return text, len("".join(text.split())) < _FEW and _is_picture(page, bool(text.strip()))
        finally:
            page.close()

    def _fields(self, page: Any) -> list[tuple[str, str]]:
        """Return the names and values of the fields that are filled in on a page."""
        import pypdfium2.raw as raw

        found = []
        for place in range(raw.FPDFPage_GetAnnotCount(page)):
            annotation = raw.FPDFPage_GetAnnot(page, place)
            if not annotation:
                continue
            form = self._pdf.formenv
            if raw.FPDFAnnot_GetSubtype(annotation) == raw.FPDF_ANNOT_WIDGET:
                kind = raw.FPDFAnnot_GetFormFieldType(form, annotation)
                if kind in (raw.FPDF_FORMFIELD_TEXTFIELD, raw.FPDF_FORMFIELD_COMBOBOX, raw.FPDF_FORMFIELD_LISTBOX):
                    value = _wide_text(raw.FPDFAnnot_GetFormFieldValue, form, annotation)
                    if value.strip():
                        found.append((_wide_text(raw.FPDFAnnot_GetFormFieldName, form, annotation), value))
                elif raw.FPDFAnnot_IsChecked(form, annotation):
                    found.append((_wide_text(raw.FPDFAnnot_GetFormFieldName, form, annotation), "yes"))
            raw.FPDFPage_CloseAnnot(annotation)
        return found


def _wide_text(function: Any, form: Any, annotation: Any) -> str:
    size = function(form, annotation, None, 0)
    if size <= 2:
        return ""
    held = (ctypes.c_ushort * (size // 2))()
    function(form, annotation, held, size)
    return bytes(held).decode("utf-16-le", "replace").rstrip("\0")


def _words(page: Any) -> tuple[list[Word], int]:
    """Return the words of a page in the order of the file, and how many characters stand for nothing known."""
    import pypdfium2.raw as raw

    text_page = page.get_textpage()
    try:
        words, held, first, unmapped, line = list[Word](), list[str](), 0, 0, 0
        box = raw.FS_RECTF()

        def edges(index: int) -> tuple[float, float, float, float]:
            raw.FPDFText_GetLooseCharBox(text_page, index, box)  # as high as the font, whatever the letter
            return box.left, box.bottom, box.right, box.top

        count = text_page.count_chars()
        for index in range(count + 1):
            code = raw.FPDFText_GetUnicode(text_page, index) if index < count else 32
            if code > 32 and code != 0xA0:
                if not held:
                    first = index
                held.append(chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE000 else "\ufffd")
                unmapped += code in (0xFFFD, 0xFFFF)
                continue
            if code in (2, 0xFFFE) and held:  # PDFium's mark of a hyphen at a line's end
                held.append("-")
            elif code == 0:
                unmapped += 1
                continue
            if held:
                left, bottom, right, top = edges(first)
                if index - 1 > first:
                    others = edges(index - 1)
                    left, right = min(left, others[0]), max(right, others[2])
                    bottom, top = min(bottom, others[1]), max(top, others[3])
                words.append(Word("".join(held), left, bottom, right, top, line))
                held = []
            if code in (10, 13):
                line += code == 10
        return words, unmapped
    finally:
        text_page.close()


def _is_picture(page: Any, has_text: bool) -> bool:
    """Whether a page shows something that is not text: a picture, of most of the page where it has some text."""
    import pypdfium2.raw as raw

    area = max(1.0, page.get_width() * page.get_height())
    for item in page.get_objects(max_depth=3):
        if item.type not in (raw.FPDF_PAGEOBJ_IMAGE, raw.FPDF_PAGEOBJ_SHADING):
            if item.type == raw.FPDF_PAGEOBJ_PATH and not has_text:
                return True  # letters may be drawn as outlines
            continue
        left, bottom, right, top = item.get_bounds()
        if not has_text or (right - left) * (top - bottom) > 0.5 * area:
            return True
    return False


def _known_words(pages: Iterable[str]) -> frozenset[str]:
    """Return the words, and the compounds with a hyphen, that stand within lines."""
    found: set[str] = set()
    for page in pages:
        text = fold(page.replace("-\n", " \n"))
        found.update(word.casefold() for word in _COMPOUND.findall(text))
        found.update(word.casefold() for word in _WORD.findall(text))
    return frozenset(found)


def _unwrapped(page: str, whole: frozenset[str]) -> str:
    """Return a page with words that were cut at line ends put together, and the lines of a paragraph joined.

    A hyphen stays where the document has the compound within a line, or where a single letter comes before it.
    """

    def join(found: re.Match[str]) -> str:
        before, after = found[1], found[2]
        first = _WORD.findall(before)[-1]
        joined, compound = (first + after).casefold(), f"{first}-{after}".casefold()
        if joined in whole and compound not in whole:
            return before
        if compound in whole or len(first) == 1 or (after[0].isupper() and not first.isupper()):
            return f"{before}-"
        if before != first and before[: -len(first)].endswith("-"):  # state-of-the-art
            return f"{before}-"
        if first.casefold() in _FIRST_HALVES and not after.startswith(_ENDINGS):
            return f"{before}-"
        return before

    text = _HYPHEN.sub(join, fold(clean(page.replace("\xad\n", "-\n"))))
    text = re.sub(r"(?<!\n)\n(?!\n)", " ", text)
    return re.sub(r"[ \t]+", " ", text).strip()


def fold(text: str) -> str:
    """Return text with ligatures and other forms of presentation as the letters that they stand for."""
    return _FOLDED.sub(lambda found: unicodedata.normalize("NFKC", found[0]), text)


def _title(stated: str, stem: str) -> str:
    """Return the title that a file states, unless it is a file's name or says nothing."""
    title = one_line(stated)
    if _NO_TITLE.fullmatch(title) or _PROGRAMS.search(title) or "\\" in title or title.casefold() == stem.casefold():
        return ""
    return title[:300]


def ranges(numbers: list[int]) -> str:
    """Return numbers in order as text: 2-4, 7."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    return ", ".join(f"{part[0]}-{part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)
