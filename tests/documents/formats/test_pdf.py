from __future__ import annotations

from pathlib import Path

import pytest

from rankrag.documents.formats.columns import Word, paragraphs
from rankrag.documents.formats.pdf import fold, ranges
from rankrag.documents.readers import read_bytes
from rankrag.errors import DataError

from ..conftest import pdf_bytes
from ..pdf_parts import drawn_pdf

FILES = Path(__file__).parents[1] / "files"


def text_of(*lines: str, title: str = "", stem: str = "a") -> str:
    return read_bytes(Path(f"{stem}.pdf"), pdf_bytes(list(lines), title=title), "a.pdf").text.strip()


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        (("The sluice is hydrau-", "lic."), "The sluice is hydraulic."),
        (("Send an e-", "mail."), "Send an e-mail."),
        (("It is well-", "known."), "It is well-known."),
        (("A low-water mark.", "The low-", "water mark."), "A low-water mark. The low-water mark."),
        (("A lowwater mark.", "The low-", "water mark."), "A lowwater mark. The lowwater mark."),
        (("an out-of-", "date map"), "an out-of-date map"),
        (("the Rhine-", "Main canal"), "the Rhine-Main canal"),
    ],
)
def test_words_cut_at_line_ends_are_whole_and_compounds_keep_their_hyphen(lines: tuple[str, ...], text: str):
    assert text_of(*lines) == text


@pytest.mark.parametrize(
    ("text", "expected"), [("eﬃcient ﬂow", "efficient flow"), ("⽔", "水"), ("10² ½", "10² ½"), ("ﻻ", "لا")]
)
def test_ligatures_become_letters_and_raised_numbers_stay(text: str, expected: str):
    assert fold(text) == expected


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Weir care", "Weir care"),
        ("Microsoft Word - final.docx", "leaflet"),
        ("untitled", "leaflet"),
        ("scan0001.indd", "leaflet"),
        ("", "leaflet"),
        ("LEAFLET", "leaflet"),
    ],
)
def test_the_name_of_a_file_is_no_title(title: str, expected: str):
    document = read_bytes(Path("leaflet.pdf"), pdf_bytes(["Text."], title=title), "leaflet.pdf")
    assert document.title == expected


def test_pages_without_text_among_pages_with_text_are_named():
    data = drawn_pdf("BT /F1 12 Tf 72 720 Td (One.) Tj ET", "100 100 200 200 re f", "", "10 10 400 400 re f")
    document = read_bytes(Path("a.pdf"), data, "a.pdf")
    assert [note.text for note in document.notes] == [
        "pages 2, 4 have no text, as scans have; run OCR (ocrmypdf), or index with --ocr"
    ]
    assert all(note.lost for note in document.notes)


def test_an_encrypted_file_opens_without_a_password_or_says_so():
    assert read_bytes(Path("a.pdf"), (FILES / "aes.pdf").read_bytes(), "a.pdf").text.strip() == "Secret."
    with pytest.raises(DataError, match=r"encrypted; remove its password"):
        read_bytes(Path("a.pdf"), (FILES / "aes_user.pdf").read_bytes(), "a.pdf")


def test_filled_in_fields_are_read_and_attachments_named():
    data = (FILES / "form.pdf").read_bytes()
    document = read_bytes(Path("a.pdf"), data, "a.pdf")
    assert "Ada Lovelace" in document.text
    assert "Agree: yes" in document.text
    assert [note.text for note in document.notes] == [
        "the attachment rota.txt is not read; save it as a file of its own"
    ]


def words_at(*lines: tuple[str, float, float]) -> list[Word]:
    found = []
    for number, (text, left, bottom) in enumerate(lines):
        for word in text.split():
            found.append(Word(word, left, bottom, left + 5 * len(word), bottom + 10, number // 2))
            left += 5 * len(word) + 3
    return found


def test_columns_that_are_drawn_line_by_line_are_read_one_after_the_other():
    left = ["the mill stands on", "the left bank and", "grinds rye all year", "for six villages."]
    right = ["a ferry crosses the", "river at the bend", "twice in an hour", "when it is calm."]
    lines = [
        (text, x, 700 - 14 * n)
        for n, pair in enumerate(zip(left, right, strict=True))
        for text, x in zip(pair, (72, 300), strict=True)
    ]
    found = list(paragraphs(words_at(*lines), 600))
    assert " ".join(line for lines in found for line in lines) == " ".join([*left, *right])


def test_cells_of_a_table_stay_in_their_rows():
    rows = [("Lock", "Year"), ("Mill", "1890"), ("Moor", "1901"), ("Fen", "1911")]
    lines = [(text, x, 700 - 14 * n) for n, row in enumerate(rows) for text, x in zip(row, (72, 300), strict=True)]
    found = [line for lines in paragraphs(words_at(*lines), 600) for line in lines]
    assert found == ["Lock Year", "Mill 1890", "Moor 1901", "Fen 1911"]


def test_a_wide_gap_begins_a_paragraph():
    lines = [("one two three", 72, 700), ("", 0, 0), ("four five six", 72, 686), ("", 0, 0), ("seven eight", 72, 650)]
    assert list(paragraphs(words_at(*lines), 600)) == [["one two three", "four five six"], ["seven eight"]]


def test_page_numbers_are_told_as_ranges():
    assert ranges([1, 2, 3, 7, 9, 10]) == "1-3, 7, 9-10"
