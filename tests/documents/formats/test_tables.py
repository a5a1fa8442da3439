from __future__ import annotations

import io
import zipfile
from datetime import datetime, time
from pathlib import Path

import pytest

from rankrag.documents.chunking import split
from rankrag.documents.document import Document
from rankrag.documents.readers import read_bytes

from ..files_of import xlsx


def read(text: str, name: str = "a.csv") -> Document:
    return read_bytes(Path(name), text.encode(), name)


def header_of(document: Document) -> str:
    return document.sections[0].tables[0].header


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("lock,fee\nMill,9\n", "a.csv"),
        ("lock;fee\r\nMill;9\r\n", "a.csv"),
        ("\ufefflock\tfee\nMill\t9\n", "a.tsv"),
        ("lock|fee\nMill|9", "a.csv"),
        ('"lock","fee"\n"Mill","9"\n\n', "a.csv"),
    ],
)
def test_the_mark_between_fields_is_found(text: str, name: str):
    document = read(text, name)
    assert (document.text, header_of(document)) == ("lock | fee\nMill | 9", "lock | fee")


def test_text_above_a_table_is_text_and_numbers_are_no_header():
    assert header_of(read("Tolls of 2025\n\nlock,fee\nMill,9\nMoor,8\n")) == "lock | fee"
    assert header_of(read("1,2\n3,4\n")) == ""


def test_a_quote_that_is_not_closed_swallows_no_rows():
    document = read('lock,fee\nMill,"9\nMoor,8\nFen,7\n')
    assert document.text == 'lock | fee\nMill | "9\nMoor | 8\nFen | 7'
    assert [note.text for note in document.notes] == ["line 2: a quote is not closed; the line is read as it is"]


def test_a_quote_that_is_closed_rows_later_swallows_no_rows():
    document = read('lock,fee\nMill,"9\nMoor,8\nFen,7"\nElm,6\n')
    assert document.text.split("\n")[2:] == ["Moor | 8", 'Fen | 7"', "Elm | 6"]
    assert len(document.notes) == 1


def test_a_field_of_several_lines_is_one_field():
    assert read('lock,note\nMill,"wide,\nold"\nMoor,new\n').text == "lock | note\nMill | wide, old\nMoor | new"


def test_rows_of_another_length_are_kept_and_said():
    document = read("lock,fee\nMill,9\nMoor,8,extra\nFen\n")
    assert document.text == "lock | fee\nMill | 9\nMoor | 8 | extra\nFen"
    assert "1 rows have more fields" in document.notes[0].text


def test_every_passage_of_a_long_table_names_the_columns():
    rows = "".join(f"Lock number {n},{1800 + n},keeper of the lock {n}\n" for n in range(200))
    document = read(f"lock,year,keeper\n{rows}")
    passages = list(split(document))
    assert len(passages) > 10
    assert all(passage.text.startswith("lock | year | keeper\n") for passage in passages)
    for passage in passages:
        assert passage.source is not None
        assert passage.text.endswith(document.text[passage.source.start : passage.source.end])


def test_a_row_wider_than_a_passage_is_cut_between_cells_that_keep_their_names():
    names = [f"measure_{n}" for n in range(60)]
    document = read(",".join(names) + "\n" + ",".join(f"value{n}" for n in range(60)) + "\n")
    for passage in split(document):
        if "value30" in passage.text:
            above, below = passage.text.split("\n")
            assert above.split(" | ").index("measure_30") == below.split(" | ").index("value30")
            break
    else:
        pytest.fail("the cell is in no passage")


def test_a_workbook_has_a_section_a_sheet_and_says_what_is_hidden():
    document = read_bytes(
        Path("a.xlsx"), xlsx([["Tolls"], ["lock", "fee"], ["Mill", 9.5], ["Moor", None]], hidden=True), "a.xlsx"
    )
    assert [section.heading for section in document.sections] == ["Locks"]
    assert document.text == "Locks\n\nTolls\n\nlock | fee\nMill | 9.5\nMoor"
    assert [note.text for note in document.notes] == ["the sheet Drafts is hidden and not read"]


def test_a_formula_without_a_stored_value_is_named():
    document = read_bytes(Path("a.xlsx"), xlsx([["lock", "fee"], ["Mill", "=1+1"]]), "a.xlsx")
    assert "1 formulas have no stored value" in document.notes[0].text


@pytest.mark.parametrize(
    ("value", "form", "shown"),
    [
        (True, "General", "TRUE"),
        (datetime(2026, 11, 30), "yyyy-mm-dd", "2026-11-30"),
        (datetime(2026, 11, 30, 9, 5), "yyyy-mm-dd h:mm", "2026-11-30 09:05:00"),
        (time(9, 5), "h:mm", "09:05:00"),
        (0.125, "0.0%", "12.5%"),
        (1234.5, "#,##0.00", "1,234.50"),
        (9.5, "0", "10"),
        (0.1 + 0.2, "General", "0.3"),
    ],
)
def test_a_cell_is_read_as_the_sheet_shows_it(value: object, form: str, shown: str):
    import openpyxl

    book, held = openpyxl.Workbook(), io.BytesIO()
    book.active["A1"] = value
    book.active["A1"].number_format = form
    book.save(held)
    assert read_bytes(Path("a.xlsx"), held.getvalue(), "a.xlsx").text == f"Sheet\n\n{shown}"


def test_what_of_a_workbook_is_not_read_is_named():
    with_chart = xlsx([["lock", "fee"], ["Mill", 9]])
    held = io.BytesIO(with_chart)
    with zipfile.ZipFile(held, "a") as package:
        package.writestr("xl/charts/chart1.xml", "<c/>")
    notes = read_bytes(Path("a.xlsx"), held.getvalue(), "a.xlsx").notes
    assert [note.text for note in notes] == ["charts are not read (1)"]
