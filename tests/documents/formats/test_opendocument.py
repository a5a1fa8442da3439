# ruff: noqa: E501
from __future__ import annotations

from pathlib import Path

import pytest

from rankrag.documents.document import Document
from rankrag.documents.readers import read_bytes
from rankrag.errors import DataError

from ..files_of import ODF, odt, zipped


def read(body: str, styles: str = "", **parts: str) -> Document:
    return read_bytes(Path("a.odt"), odt(body, styles, **parts), "a.odt")


def test_opendocument_has_headings_lists_notes_tables_and_scripts():
    styles = '<style:style style:name="up"><style:text-properties style:text-position="super 58%"/></style:style>'
    document = read(
        '<text:h text:outline-level="1">Dykes</text:h><text:p>It is 9 m<text:span text:style-name="up">2</text:span>'
        "<text:note><text:note-citation>1</text:note-citation><text:note-body><text:p>In 1890.</text:p></text:note-body>"
        '</text:note> wide<text:s text:c="2"/>.</text:p><text:list><text:list-item><text:p>Pay</text:p></text:list-item>'
        "<text:list-item><text:p>Go</text:p></text:list-item></text:list><table:table><table:table-row>"
        "<table:table-cell><text:p>lock</text:p></table:table-cell><table:table-cell><text:p>fee</text:p>"
        "</table:table-cell></table:table-row><table:table-row><table:table-cell><text:p>Mill</text:p>"
        "</table:table-cell><table:table-cell><text:p>9</text:p></table:table-cell></table:table-row></table:table>"
        "<text:tracked-changes><text:p>gone</text:p></text:tracked-changes>",
        styles,
    )
    assert document.title == "Dyke book"
    assert document.text == "Dykes\n\nIt is 9 m² [1] wide  .\n\n- Pay\n- Go\n\nlock | fee\nMill | 9\n\n[1] In 1890."


def test_headers_come_first_and_footers_last_each_text_once():
    margins = (
        f"<office:document-styles {ODF}><style:header><text:p>File 88</text:p></style:header>"
        "<style:header-first><text:p>File 88</text:p></style:header-first>"
        "<style:footer><text:p>p. 1</text:p></style:footer></office:document-styles>"
    )
    assert read("<text:p>Text.</text:p>", **{"styles.xml": margins}).text == "File 88\n\nText.\n\np. 1"


@pytest.mark.parametrize(
    ("position", "shown"),
    [("super 58%", "m²"), ("sub 58%", "m₂"), ("-20% 58%", "m₂"), ("33% 58%", "m²"), ("0% 100%", "m2")],
)
def test_a_shifted_number_is_raised_or_lowered(position: str, shown: str):
    style = f'<style:style style:name="x"><style:text-properties style:text-position="{position}"/></style:style>'
    assert read('<text:p>m<text:span text:style-name="x">2</text:span></text:p>', style).text == shown


def test_hidden_text_goes():
    style = '<style:style style:name="ghost"><style:text-properties text:display="none"/></style:style>'
    body = (
        '<text:p>Kept<text:span text:style-name="ghost"> secret</text:span>.</text:p>'
        '<text:p text:style-name="ghost">All of it.</text:p>'
        '<text:section text:display="none"><text:p>A draft.</text:p></text:section>'
        "<text:section><text:p>A section.</text:p></text:section>"
    )
    assert read(body, style).text == "Kept.\n\nA section."


def test_lists_show_their_numbers_and_their_depth():
    levels = "".join(
        f'<text:list-level-style-number text:level="{level}" style:num-format="{form}" style:num-suffix="{suffix}"/>'
        for level, form, suffix in ((1, "1", "."), (2, "a", ")"))
    )
    body = (
        '<text:list text:style-name="L"><text:list-item><text:p>Pay</text:p><text:list><text:list-item>'
        "<text:p>Cash</text:p><text:p>only</text:p></text:list-item></text:list></text:list-item>"
        "<text:list-item><text:h>Go</text:h></text:list-item></text:list>"
    )
    style = f'<text:list-style style:name="L">{levels}</text:list-style>'
    assert read(body, style).text == "1. Pay\n  1) Cash\nonly\n2. Go"


def test_a_table_in_a_list_and_a_table_in_a_table_are_read():
    def table(*cells: str, header: bool = False) -> str:
        row = (
            f"<table:table-row>{''.join(f'<table:table-cell>{c}</table:table-cell>' for c in cells)}</table:table-row>"
        )
        return f"<table:table-header-rows>{row}</table:table-header-rows>" if header else row

    inner = f"<table:table>{table('<text:p>Mill</text:p>')}</table:table>"
    body = f"<text:list><text:list-item>{inner}</text:list-item></text:list>"
    assert read(body).text == "Mill"
    outer = table("<text:p>lock</text:p>", header=True) + table(inner)
    assert read(f"<table:table>{outer}</table:table>").text == "lock\nMill"


def test_boxes_and_white_space_of_paragraphs_are_shown():
    box = "<draw:frame><draw:text-box><text:p>Boxed.</text:p></draw:text-box></draw:frame>"
    body = f'<text:p>a<text:tab/>b<text:line-break/>c{box}</text:p><text:h text:outline-level="x">Gates</text:h>'
    document = read(body.replace("draw:frame", 'draw:frame xmlns:draw="d"', 1))
    assert document.text == "a\tb\nc\n\nBoxed.\n\nGates"
    assert document.title == "Dyke book"


def test_what_is_not_read_is_said_and_an_encrypted_file_is_refused():
    document = read("<text:p>Text.</text:p>", **{"Object 1/content.xml": "<x/>"})
    assert [note.text for note in document.notes] == ["embedded objects, such as charts and formulas, are not read"]
    locked = {"META-INF/manifest.xml": "<manifest><encryption-data/></manifest>", "content.xml": "x"}
    with pytest.raises(DataError, match=r"a\.odt: encrypted; save it without a password"):
        read_bytes(Path("a.odt"), zipped(locked), "a.odt")
