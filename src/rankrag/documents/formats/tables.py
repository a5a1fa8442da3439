"""CSV, TSV and Excel files: tables whose column names every passage repeats."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from pathlib import Path

from rankrag.documents.decoding import decode
from rankrag.documents.document import Document, Writer
from rankrag.documents.formats.packages import Package, core_title

_SAMPLE = 50  # lines
_LARGEST_FIELD = 1 << 30


def read_csv(path: Path, data: bytes, where: str) -> Document:
    """Return a table: the first line that has all columns is its header, lines before it are text."""
    read = decode(data, where)
    writer = Writer()
    if read.note:
        writer.note(read.note.text, lost=read.note.lost)
    text = read.text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    delimiter = "\t" if path.suffix.lower() == ".tsv" else _delimiter(text)
    rows = [row for row in _rows(text, delimiter, writer) if any(cell.strip() for cell in row)]
    width = Counter(map(len, rows)).most_common(1)[0][0] if rows else 0
    above = 0
    while above < min(len(rows), 20) and len(rows[above]) < width:
        writer.block(" ".join(filter(None, rows[above])))
        above += 1
    other = [number for number, row in enumerate(rows, start=1) if len(row) > width]
    if other:
        writer.note(f"{len(other)} rows have more fields than the header (row {other[0]}); they are kept", lost=False)
    body = rows[above:]
    if len(body) > 1 and _names(body[0]):
        writer.table(body[:1], body[1:])
    else:
        writer.table([], body)
    return writer.document(path.as_posix(), path.stem)


def _names(row: Sequence[str]) -> bool:
    """Whether a first row names the columns: no cell is a number."""
    return not any(_is_number(cell) for cell in row if cell.strip())


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", ".").replace(" ", ""))
    except ValueError:
        return False
    return True


def _delimiter(text: str) -> str:
    """Return the mark that divides most lines into the same number of fields."""
    lines = [line for line in text.split("\n", _SAMPLE)[:_SAMPLE] if line.strip()]
    best, most = ",", 0.0
    for mark in ",;\t|":
        counts = Counter(_fields(line, mark) for line in lines)
        fields, same = max(counts.items(), key=lambda found: (found[0] > 1, found[1])) if counts else (1, 0)
        score = same * (1 + min(fields, 50) / 1000) if fields > 1 else 0
        if score > most:
            best, most = mark, score
    return best


def _fields(line: str, mark: str) -> int:
    return len(next(csv.reader([line], delimiter=mark), []))


def _rows(text: str, delimiter: str, writer: Writer) -> Iterator[list[str]]:
    """Yield the rows; a quote that is not closed, or closed rows later, is a character of its field, and said so."""
    csv.field_size_limit(_LARGEST_FIELD)
    lines = text.split("\n")
    place, width = 0, 0
    while place < len(lines):
        reader = csv.reader((line + "\n" for line in lines[place:]), delimiter=delimiter, strict=True)
        try:
            for row in reader:
                taken = reader.line_num
                if taken > 1 and width > 1 and _swallowed(lines[place : place + taken], delimiter, width):
                    raise csv.Error
                if row:
                    width = width or len(row)
                    yield row
                place += taken
                break
            else:
                return
        except csv.Error:
            if lines[place].strip():
                writer.note(f"line {place + 1}: a quote is not closed; the line is read as it is", lost=False)
                yield lines[place].split(delimiter)
            place += 1


def _swallowed(lines: Sequence[str], delimiter: str, width: int) -> bool:
    """Whether the lines of one quoted field look like rows of their own."""
    inner = lines[1:]
    like_rows = sum(line.count(delimiter) == width - 1 for line in inner)
    return like_rows >= max(1, len(inner) / 2)


def read_xlsx(path: Path, data: bytes, where: str) -> Document:
    """Return the sheets of an Excel file, each a table with its name above it."""
    import warnings

    package = Package(data, where, ".xlsx")
    title = core_title(package)
    from openpyxl import load_workbook

    writer = Writer()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of extensions that hold no text
        values = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        for sheet in values.worksheets:
            if sheet.sheet_state != "visible":
                writer.note(f"the sheet {sheet.title} is hidden and not read")
                continue
            writer.heading(1, sheet.title)
            rows = [[_shown(cell.value, cell.number_format) for cell in row] for row in sheet.iter_rows()]
            _write_sheet(writer, rows)
        values.close()
    _note_formulas(writer, package)
    for kind, name in (("xl/charts/", "charts"), ("xl/comments", "remarks"), ("xl/embeddings/", "embedded files")):
        if count := sum(part.startswith(kind) and part.endswith((".xml", ".bin", ".docx")) for part in package.names):
            writer.note(f"{name} are not read ({count})")
    return writer.document(path.as_posix(), title or path.stem)


def _write_sheet(writer: Writer, rows: list[list[str]]) -> None:
    """Write a sheet: text above its widest rows is text, then come a header and its rows."""
    while rows and not any(rows[-1]):
        rows.pop()
    filled = [sum(map(bool, row)) for row in rows]
    width = max(filled, default=0)
    first = next((place for place, count in enumerate(filled) if count > width / 2), 0)
    for place, row in enumerate(rows[:first]):
        writer.block(" ".join(filter(None, row)), tight=place > 0)
    body = [row for row in rows[first:] if any(row)]
    columns = max(map(len, body), default=0)
    begin = next((place for place in range(columns) if any(row[place : place + 1] != [""] for row in body)), 0)
    body = [row[begin:] for row in body]
    if len(body) > 1 and _names(body[0]):
        writer.table(body[:1], body[1:])
    else:
        writer.table([], body)


def _note_formulas(writer: Writer, package: Package) -> None:
    """Say how many formulas have no stored value, as files have that no spreadsheet program wrote."""
    empty = 0
    for name in package.names:
        if name.startswith("xl/worksheets/") and name.endswith(".xml"):
            data = package.read(name)
            empty += (
                data.count(b"</f></c>") + data.count(b"<v></v>") + data.count(b"</f><v/>") + data.count(b"</f><v />")
            )
    if empty:
        writer.note(f"{empty} formulas have no stored value; open the file in a spreadsheet program and save it")


def _shown(value: object, form: str | None) -> str:
    """Return a cell's value as the sheet shows it, or nearly so."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d") if value.time() == time() else value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, int | float):
        return _number(value, form or "General")
    return str(value)


def _number(value: float, form: str) -> str:
    form = form.split(";")[0]
    places = len(form.partition(".")[2].rstrip("%").split("_")[0].strip('"€$£ ')) if "." in form else 0
    if form.endswith("%"):
        return f"{value * 100:.{places}f}%"
    if form != "General" and "0" in form and set(form) <= set("#,0.") and "E" not in form:
        return f"{value:,.{places}f}" if "," in form else f"{value:.{places}f}"
    return f"{value:.15g}" if isinstance(value, float) else str(value)
