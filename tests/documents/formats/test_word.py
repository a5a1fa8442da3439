# ruff: noqa: E501
from __future__ import annotations

from pathlib import Path

import pytest

from rankrag.documents.document import Document
from rankrag.documents.readers import read_bytes

from ..files_of import W, paragraph, word

STYLES = (
    f'<w:styles {W}><w:style w:styleId="H"><w:name w:val="heading 1"/></w:style>'
    '<w:style w:styleId="Sub"><w:basedOn w:val="H"/><w:pPr><w:outlineLvl w:val="1"/></w:pPr></w:style>'
    '<w:style w:styleId="Ghost"><w:name w:val="ghost"/><w:rPr><w:vanish/></w:rPr></w:style></w:styles>'
)


def read(body: str, **parts: str) -> Document:
    return read_bytes(Path("a.docx"), word(body, **parts), "a.docx")


def styled(name: str, text: str) -> str:
    return paragraph(text, f'<w:pPr><w:pStyle w:val="{name}"/></w:pPr>')


def run(text: str, look: str) -> str:
    return f"<w:r><w:rPr>{look}</w:rPr><w:t>{text}</w:t></w:r>"


def test_headings_come_from_styles_never_from_text():
    document = read(styled("H", "Gates") + paragraph("# of gates: 3_4*") + styled("Sub", "Oil"), styles=STYLES)
    assert [(section.heading, section.text.strip()) for section in document.sections] == [
        ("Gates", "Gates\n\n# of gates: 3_4*"),
        ("Gates > Oil", "Oil"),
    ]


def test_headers_and_footers_come_once():
    header = f"<w:hdr {W}>{paragraph('File 88')}</w:hdr>"
    document = read(
        paragraph("Text."), header1=header, header2=header, footer1=f"<w:ftr {W}>{paragraph('p. 1')}</w:ftr>"
    )
    assert document.text == "File 88\n\nText.\n\np. 1"


def test_hidden_deleted_and_placeholder_text_goes():
    shown = run(" shown", '<w:vanish w:val="0"/>')
    ghost = run(" ghost", '<w:rStyle w:val="Ghost"/>')
    body = (
        f"<w:p><w:r><w:t>Kept</w:t></w:r>{run(' secret', '<w:vanish/>')}{shown}{ghost}"
        "<w:del><w:r><w:delText> old</w:delText></w:r></w:del>"
        "<w:ins><w:r><w:t> new</w:t></w:r></w:ins><w:r><w:instrText>PAGE</w:instrText></w:r></w:p>"
        f"<w:sdt><w:sdtPr><w:showingPlcHdr/></w:sdtPr><w:sdtContent>{paragraph('Click here')}</w:sdtContent></w:sdt>"
        f"<w:sdt><w:sdtContent>{paragraph('Filled in')}</w:sdtContent></w:sdt>"
    )
    assert read(body, styles=STYLES).text == "Kept shown new\n\nFilled in"


def test_a_text_box_is_read_once():
    inner = f"<w:txbxContent>{paragraph('Boxed.')}</w:txbxContent>"
    body = (
        '<w:p><w:r><w:t>Text.</w:t></w:r><w:r><mc:AlternateContent xmlns:mc="m"><mc:Choice><w:drawing>'
        f"{inner}</w:drawing></mc:Choice><mc:Fallback><w:pict>{inner}</w:pict></mc:Fallback></mc:AlternateContent></w:r></w:p>"
    )
    assert read(body).text == "Text.\n\nBoxed."


@pytest.mark.parametrize(
    ("runs", "text"),
    [
        ("<w:r><w:t>m</w:t></w:r>" + run("3", '<w:vertAlign w:val="superscript"/>'), "m³"),
        ("<w:r><w:t>N</w:t></w:r>" + run("2", '<w:vertAlign w:val="subscript"/>'), "N₂"),
        ("<w:r><w:t>a</w:t><w:noBreakHyphen/><w:t>b</w:t><w:tab/><w:t>c</w:t><w:br/><w:t>d</w:t></w:r>", "a-b\tc\nd"),
        ("<w:r><w:t>Schiff\u00adfahrt</w:t></w:r>", "Schifffahrt"),
        (run("mill", "<w:caps/>") + run(" race", '<w:caps w:val="0"/>'), "MILL race"),
        ('<w:r><w:sym w:char="2192"/><w:t>a</w:t><w:sym w:char="F0E0"/></w:r>', "→a"),
        ("<w:r><w:ruby><w:r><w:t>b</w:t></w:r></w:ruby></w:r>", "b"),
    ],
)
def test_letters_keep_their_meaning(runs: str, text: str):
    assert read(f"<w:p>{runs}</w:p>").text == text


def test_the_words_for_a_picture_are_read_but_not_a_guess_at_them():
    picture = '<w:r><w:drawing><docPr descr="{}"/></w:drawing></w:r>'
    body = f"<w:p>{picture.format('A gate.')}{picture.format('A picture containing water')}</w:p>"
    assert read(body).text == "A gate."


def test_a_formula_is_shown_on_one_line():
    formula = (
        "<oMath><r><rPr/><t>v=</t></r><f><num><t>s</t></num><den><t>t</t></den></f>"
        "<sSup><e><t>x</t></e><sup><t>2</t></sup></sSup><sSub><e><t>H</t></e><sub><t>2</t></sub></sSub></oMath>"
    )
    assert read(f"<w:p>{formula}</w:p>").text == "v=(s)/(t)x²H₂"


@pytest.mark.parametrize(
    ("form", "numbers"),
    [
        ("upperLetter", "A B C D"),
        ("lowerRoman", "i ii iii iv"),
        ("upperRoman", "I II III IV"),
        ("decimalZero", "01 02 03 04"),
    ],
)
def test_numbers_have_the_form_of_their_list(form: str, numbers: str):
    numbering = (
        f'<w:numbering {W}><w:abstractNum w:abstractNumId="0"><w:lvl w:ilvl="0"><w:numFmt w:val="{form}"/>'
        '<w:lvlText w:val="%1"/></w:lvl></w:abstractNum><w:num w:numId="7"><w:abstractNumId w:val="0"/></w:num></w:numbering>'
    )
    items = paragraph("x", '<w:pPr><w:numPr><w:numId w:val="7"/></w:numPr></w:pPr>') * 4
    assert read(items, numbering=numbering).text.replace(" x", "").split("\n") == numbers.split()


def test_a_list_without_numbers_shows_marks_and_the_number_of_a_numbered_heading_is_part_of_it():
    numbering = (
        f'<w:numbering {W}><w:abstractNum w:abstractNumId="0"><w:lvl w:ilvl="0"><w:numFmt w:val="bullet"/></w:lvl>'
        '<w:lvl w:ilvl="1"><w:numFmt w:val="none"/></w:lvl></w:abstractNum><w:abstractNum w:abstractNumId="1">'
        '<w:lvl w:ilvl="0"><w:lvlText w:val="%1."/></w:lvl></w:abstractNum><w:num w:numId="7">'
        '<w:abstractNumId w:val="0"/></w:num><w:num w:numId="8"><w:abstractNumId w:val="1"/></w:num></w:numbering>'
    )
    look = '<w:pPr>{}<w:numPr><w:ilvl w:val="{}"/><w:numId w:val="{}"/></w:numPr></w:pPr>'
    body = (
        paragraph("Gates", look.format('<w:outlineLvl w:val="0"/>', 0, 8))
        + paragraph("Pay", look.format("", 0, 7))
        + paragraph("Cash", look.format("", 1, 7))
    )
    (section,) = read(body, numbering=numbering).sections
    assert (section.heading, section.text) == ("1. Gates", "1. Gates\n\n- Pay\n\nCash")


def test_a_footnote_is_read_below_the_text_and_its_mark_stays_apart():
    notes = f'<w:footnotes {W}><w:footnote w:id="5">{paragraph("In summer.")}</w:footnote></w:footnotes>'
    document = read('<w:p><w:r><w:t>It costs 15</w:t><w:footnoteReference w:id="5"/></w:r></w:p>', footnotes=notes)
    assert document.text == "It costs 15 [1]\n\n[1] In summer."


def test_numbers_of_lists_are_shown():
    numbering = (
        f'<w:numbering {W}><w:abstractNum w:abstractNumId="0"><w:lvl w:ilvl="0"><w:start w:val="2"/>'
        '<w:numFmt w:val="decimal"/><w:lvlText w:val="§ %1"/></w:lvl><w:lvl w:ilvl="1"><w:numFmt w:val="lowerLetter"/>'
        '<w:lvlText w:val="%1%2)"/></w:lvl></w:abstractNum><w:num w:numId="7"><w:abstractNumId w:val="0"/></w:num></w:numbering>'
    )

    def item(text: str, level: int) -> str:
        return paragraph(text, f'<w:pPr><w:numPr><w:ilvl w:val="{level}"/><w:numId w:val="7"/></w:numPr></w:pPr>')

    document = read(item("Pay", 0) + item("Cash", 1) + item("Go", 0), numbering=numbering)
    assert document.text == "§ 2 Pay\n2a) Cash\n§ 3 Go"


def test_a_table_keeps_its_header_and_merged_cells():
    def row(*cells: str) -> str:
        return f"<w:tr>{''.join(f'<w:tc>{cell}</w:tc>' for cell in cells)}</w:tr>"

    merged = "<w:tcPr><w:vMerge{}/></w:tcPr>"
    body = (
        "<w:tbl>"
        + row(paragraph("Lock"), paragraph("Fee"))
        + row(merged.format(' w:val="restart"') + paragraph("Mill"), paragraph("9"))
        + row(merged.format("") + paragraph(""), paragraph("12"))
        + "</w:tbl>"
    )
    (section,) = read(body).sections
    assert section.text == "Lock | Fee\nMill | 9\nMill | 12"
    assert section.tables[0].header == "Lock | Fee"


def test_a_table_has_wide_cells_tables_boxes_and_controls_in_its_cells():
    def cell(inner: str, look: str = "") -> str:
        return f"<w:tc>{look}{inner}</w:tc>"

    inner = f"<w:tbl><w:tr>{cell(paragraph('a'))}{cell(paragraph('b'))}</w:tr></w:tbl>"
    box = f"<w:p><w:r><w:t>c</w:t><w:pict><w:txbxContent>{paragraph('boxed')}</w:txbxContent></w:pict></w:r></w:p>"
    control = f"<w:sdt><w:sdtContent>{cell(paragraph('d'))}</w:sdtContent></w:sdt>"
    header = "<w:trPr><w:tblHeader/></w:trPr>"
    wide = '<w:tcPr><w:gridSpan w:val="2"/></w:tcPr>'
    rows = (
        f"<w:tr>{header}{cell(paragraph('Lock'), wide)}{cell(paragraph('Fee'))}</w:tr>",
        f"<w:tr>{cell(inner)}{cell(box)}{control}</w:tr>",
        f"<w:sdt><w:sdtContent><w:tr>{cell('<w:ins>' + paragraph('e') + '</w:ins>')}</w:tr></w:sdtContent></w:sdt>",
        f"<w:tr><w:trPr><w:del/></w:trPr>{cell(paragraph('gone'))}</w:tr>",
    )
    body = f"<w:tbl>{''.join(rows)}</w:tbl>"
    (section,) = read(body).sections
    assert section.text == "Lock |  | Fee\na | b | c boxed | d\ne"
    assert section.tables[0].header == "Lock |  | Fee"


def test_inserted_and_moved_paragraphs_are_read():
    body = f"<w:ins>{paragraph('New.')}</w:ins><w:moveTo>{paragraph('Moved.')}</w:moveTo>"
    assert read(body).text == "New.\n\nMoved."


def test_what_is_not_read_is_said():
    diagram = "<w:p><w:r><w:drawing><relIds/></w:drawing></w:r></w:p>"
    document = read(paragraph("Text.") + diagram, comments=f"<w:comments {W}/>", chart1="<c/>", oleObject1="x")
    assert [note.text.split(" not read")[0].split(" are")[0] for note in document.notes] == [
        "remarks",
        "chart",
        "1 embedded files",
        "a diagram's text is",
    ]
