from __future__ import annotations

from pathlib import Path

import pytest

from rankrag.documents.document import Document
from rankrag.documents.readers import read_bytes


def read(body: bytes) -> Document:
    return read_bytes(Path("a.rtf"), rb"{\rtf1\ansi " + body + b"}", "a.rtf")


def test_rich_text_has_its_encodings_footnotes_tables_and_no_hidden_text():
    document = read(
        rb"\ansicpg1252{\fonttbl{\f0\fcharset0 A;}{\f1\fcharset238 B;}}{\info{\title Tolls}}"
        rb"{\header File 9\par}\f0 It costs 5 \'80{\footnote In summer.}.{\v secret}\par"
        rb"\f1 \'b3\'f3d\'9f \u322?\u-10179?\u-8704?\par m{\super 2} H{\sub 2}O\par"
        rb"\trowd\intbl lock\cell fee\cell\row\intbl Mill\cell 9\cell\row\pard End.\par"
    )
    assert document.title == "Tolls"
    assert document.text == (
        "File 9\n\nIt costs 5 € [1].\n\nłódź ł😀\n\nm² H₂O\n\nlock | fee\nMill | 9\n\nEnd.\n\n[1] In summer."
    )


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (rb"a\~b\_c\{d\}\\", "a\u00a0b-c{d}\\"),
        (b"one\\\ntwo", "one\n\ntwo"),
        (rb"a\emdash b\lquote c\rquote\tab d", "a—b‘c’\td"),
        (rb"\uc2\u228 xxb", "äb"),
        (rb"H{\sub 2\nosupersub O}", "H₂O"),
        (rb"{\v gone\plain kept}", "kept"),
        (rb"{\pict\bin4 }}}}}shown", "shown"),
        (rb"\ansicpg99999 \'e4", "ä"),
        (rb"{\*\unknown gone}shown", "shown"),
        (b"a\\\xff b", "a b"),
    ],
)
def test_letters_and_groups_show_what_a_reader_sees(body: bytes, text: str):
    assert read(body).text == text


def test_headings_have_levels_and_footers_come_last():
    document = read(rb"{\footer p. 1\par}\pard\outlinelevel0 Gates\par\pard Oil.\par\outlinelevel1 Locks\par")
    assert [s.heading for s in document.sections] == ["Gates", "Gates > Locks"]
    assert document.text == "Gates\n\nOil.\n\nLocks\n\np. 1"


def test_a_cell_may_hold_paragraphs_and_a_last_row_may_lack_its_end():
    assert read(rb"\intbl lock\par or gate\cell fee\cell\row\intbl Mill\cell 9\cell").text == (
        "lock or gate | fee\nMill | 9"
    )


def test_what_is_not_read_is_said():
    document = read(rb"Text.{\object x}{\*\annotation y}")
    assert document.text == "Text."
    assert [note.text for note in document.notes] == ["embedded objects are not read", "remarks are not read"]
