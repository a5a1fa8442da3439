# ruff: noqa: E501
"""Slides, EPUB, e-mails, reStructuredText, and what is wrong with files of any format."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from rankrag.documents.document import Document
from rankrag.documents.readers import read_bytes
from rankrag.errors import DataError

from ..files_of import MAIL, A, P, R, epub, pptx, relations, shape, zipped


def read(name: str, data: bytes | str) -> Document:
    return read_bytes(Path(name), data.encode() if isinstance(data, str) else data, name)


def test_slides_are_pages_with_titles_tables_and_no_furniture():
    table = (
        "<p:graphicFrame><a:tbl><a:tr><a:tc><a:p><a:r><a:t>lock</a:t></a:r></a:p></a:tc><a:tc><a:p><a:r><a:t>fee</a:t>"
        "</a:r></a:p></a:tc></a:tr><a:tr><a:tc><a:p><a:r><a:t>Mill</a:t></a:r></a:p></a:tc><a:tc><a:p><a:r><a:t>9</a:t>"
        "</a:r></a:p></a:tc></a:tr></a:tbl></p:graphicFrame>"
    )
    slides = pptx(
        shape("Cash only.", "No cards.") + shape("Tolls", kind="title") + shape("7", kind="sldNum"), table, ""
    )
    document = read("a.pptx", slides)
    assert document.title == "Tolls"
    assert [(s.page, s.heading, s.text.strip()) for s in document.sections] == [
        (1, None, ""),
        (1, "Tolls", "Tolls\n\nCash only.\nNo cards."),
        (2, None, "lock | fee\nMill | 9"),
        (3, None, ""),
    ]


def test_a_hidden_slide_is_named():
    document = read("a.pptx", pptx(shape("Shown."), shape("Secret."), hidden=2))
    assert document.text.strip() == "Shown."
    assert [note.text for note in document.notes] == ["slide 2 is hidden and not read"]


def test_shapes_are_read_from_top_to_bottom_and_runs_keep_their_scripts():
    def placed(text: str, y: str, x: str) -> str:
        return f'<p:sp><p:spPr><a:off x="{x}" y="{y}"/></p:spPr><p:txBody><a:p>{text}</a:p></p:txBody></p:sp>'

    def run(text: str, look: str = "") -> str:
        return f"<a:r><a:rPr {look}/><a:t>{text}</a:t></a:r>"

    squared = run("9 m") + run("2", 'baseline="30000"') + "<a:br/>" + run("H") + run("2", 'baseline="-25000"')
    slide = placed(run("last"), "900000", "0") + placed(squared, "0", "500000") + placed(run("left"), "0", "x")
    slide += "<a:AlternateContent><a:Fallback><p:sp><p:txBody><a:p><a:r><a:t>old</a:t></a:r></a:p></p:txBody></p:sp></a:Fallback></a:AlternateContent>"
    assert read("a.pptx", pptx(slide)).text == "left\n\n9 m²\nH₂\n\nlast"


def test_notes_of_a_slide_are_read_and_what_is_not_is_said():
    notes = f"<p:notes {P} {A}>{shape('7', kind='sldNum')}{shape('Say hello.', kind='body')}</p:notes>"
    slides = pptx(
        shape("Tolls"),
        **{
            "ppt/slides/_rels/slide1.xml.rels": relations(("notesSlide", "../notes1.xml"), ("chart", "../chart1.xml")),
            "ppt/notes1.xml": notes,
        },
    )
    document = read("a.pptx", slides)
    assert document.text == "Tolls\n\nSay hello."
    assert [note.text for note in document.notes] == ["slide 1: a chart, diagram or embedded file is not read"]


def test_a_slide_that_is_missing_in_the_file_is_named():
    two = f'<p:presentation {P} {R}><p:sldIdLst><p:sldId r:id="r1"/><p:sldId r:id="r9"/></p:sldIdLst></p:presentation>'
    document = read("a.pptx", pptx(shape("Tolls"), **{"ppt/presentation.xml": two}))
    assert [note.text for note in document.notes] == ["slide 2 is missing in the file"]


def test_a_book_has_its_chapters_in_order_and_an_element_that_closes_itself():
    first = '<html><head><title/></head><body><h1>One</h1><p>Mill<a id="x"/> race.</p></body></html>'
    document = read("a.epub", epub(first, "<html><body><h1>Two</h1><p>Weir.</p></body></html>"))
    assert document.title == "The weir book"
    assert [(s.heading, s.text.strip()) for s in document.sections] == [
        ("One", "One\n\nMill race."),
        ("Two", "Two\n\nWeir."),
    ]


def test_a_protected_book_is_refused():
    lock = '<encryption><EncryptionMethod Algorithm="http://www.w3.org/2001/04/xmlenc#aes256-cbc"/></encryption>'
    with pytest.raises(DataError, match="protected against copying"):
        read("a.epub", epub("<p>x</p>", **{"META-INF/encryption.xml": lock}))


def test_an_e_mail_has_its_head_its_text_and_its_attachments():
    document = read("a.eml", MAIL)
    assert document.title == "Schlüssel"
    assert document.text.endswith("The key is under the grüne mat.\n\nrota.csv\n\nday | guard\nMonday | Bo")
    assert document.text.startswith("From: Ada <ada@example.org>\nTo: harbour@example.org\nDate: Mon, 30 Nov 2026")
    assert [note.text for note in document.notes] == [
        "the attachment plan.dwg is not read; save it as a file of its own"
    ]


def test_an_e_mail_in_an_e_mail_is_read_once():
    outer = (
        b"Subject: Fwd\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/plain\n\nSee below.\n"
        b"--b\nContent-Type: message/rfc822\n\nSubject: Inner\nContent-Type: text/plain\n\nThe gate is open.\n--b--\n"
    )
    assert read("a.eml", outer).text.count("The gate is open.") == 1


def mail(*parts: str, kind: str = "mixed") -> bytes:
    head = f"Subject: Weir\nContent-Type: multipart/{kind}; boundary=b\n\n"
    return (head + "".join(f"--b\n{part}\n" for part in parts) + "--b--\n").encode()


def test_a_page_is_read_where_the_plain_part_only_says_that_there_is_one():
    page = "<h1>Gates</h1>" + "<p>The gate is open.</p>" * 40
    parts = ["Content-Type: text/plain\n\nsee page", f"Content-Type: text/html\n\n{page}"]
    assert read("a.eml", mail(*parts, kind="alternative")).text.count("The gate is open.") == 40


def test_an_attachment_that_cannot_be_read_is_named_and_a_picture_of_the_text_is_not():
    text = "Content-Type: text/plain\n\nHello."
    broken = "Content-Type: text/rtf\nContent-Disposition: attachment; filename=a.rtf\n\nhello"
    picture = "Content-Type: image/png\nContent-ID: <x>\n\nxx"
    document = read("a.eml", mail(text, broken, picture))
    assert document.text == "Subject: Weir\n\nHello."
    (note,) = document.notes
    assert note.text.startswith("the attachment a.rtf is not read (a broken or foreign .rtf file")


def test_what_is_lost_of_an_attachment_is_said_below_its_name():
    slides = base64.encodebytes(pptx(shape("Shown."), shape("Secret."), hidden=2)).decode()
    part = (
        "Content-Type: application/octet-stream\nContent-Transfer-Encoding: base64\n"
        f"Content-Disposition: attachment; filename=a.pptx\n\n{slides}"
    )
    document = read("a.eml", mail(part))
    assert document.text.endswith("a.pptx\n\nShown.")
    assert [note.text for note in document.notes] == ["a.pptx: slide 2 is hidden and not read"]


def test_restructured_text_is_cut_at_its_underlined_headings():
    document = read(
        "a.rst",
        "====\nWeir\n====\n\nOld.\n\nBank\n----\n\n.. note:: x\n\n====\nGate\n====\n\na\n\n=====  =====\nx      y\n=====  =====\n",
    )
    assert document.title == "Weir"
    assert [s.heading for s in document.sections] == ["Weir", "Weir > Bank", "Gate"]
    assert ".. note:: x" in document.text


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.docx", zipped({"word/document.xml": b"\0" * (80 << 20)}), "zip bomb"),
        (
            "a.epub",
            zipped({"META-INF/container.xml": "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>"}),
            "XML entities",
        ),
        ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 600, "encrypted, or in a format older than"),
        ("a.odt", zipped({"mimetype": "x"}), "it has no content.xml"),
        ("a.rtf", b"hello", "does not begin with"),
        ("a.eml", b"hello", "it has no head"),
        ("a.1.gz", b"\x1f\x8b\x08\0broken", "a broken .gz file"),
    ],
)
def test_dangerous_and_broken_files_are_errors_that_name_the_file(name: str, data: bytes, message: str):
    with pytest.raises(DataError, match=message) as caught:
        read(name, data)
    assert str(caught.value).startswith(f"{name}: ")
