# ruff: noqa: E501
"""Manual pages, in the commands of man and of mdoc."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from rankrag.documents.document import Document
from rankrag.documents.readers import read_bytes
from rankrag.errors import DataError


def read(page: str | bytes, name: str = "weir.1") -> Document:
    return read_bytes(Path(name), page.encode() if isinstance(page, str) else page, name)


def text(body: str) -> str:
    """Return what is read of a page's lines, below a head that shows nothing."""
    return read(f'.\\" a remark\n{body}').text


@pytest.mark.parametrize("packed", [False, True])
def test_a_manual_page_has_headings_options_and_plain_letters(packed: bool):
    page = (
        '.\\" a remark\n.TH WEIR 1 2026\n.SH NAME\nweir \\- hold water\n.SH OPTIONS\n.TP\n.BR \\-w ", " \\-\\-wide\n'
        "Make it \\fIwide\\fP, about 5\\ m.\n.IP \\(bu 2\nsecond\n.nf\n  code\n    more\n.fi\n"
    )
    document = read(gzip.compress(page.encode()) if packed else page, "weir.1.gz" if packed else "weir.1")
    assert document.title == "weir(1)"
    assert [(s.heading, s.text.strip()) for s in document.sections] == [
        ("NAME", "NAME\n\nweir - hold water"),
        ("OPTIONS", "OPTIONS\n\n-w, --wide\nMake it wide, about 5 m.\n\n- second\n\n  code\n    more"),
    ]


def test_a_log_is_no_manual_page():
    with pytest.raises(DataError, match="no manual page"):
        read("started\nstopped\n", "server.log.1")


def test_a_heading_may_be_on_the_next_line_and_sections_have_sections():
    document = read(".SH\nFILES\nA gate.\n.SS Locks\nA lock.\n")
    assert [s.heading for s in document.sections] == ["FILES", "FILES > Locks"]


def test_a_page_of_mdoc_is_read():
    page = ".Dd May 1\n.Dt WEIR 8\n.Sh NAME\n.Nm weir\n.Nd hold water\n.Sh SYNOPSIS\n.Nm\n.Op Fl w Ar width\n.Ar file ...\n"
    assert read(page, "weir.8").text == "NAME\n\nweir — hold water\n\nSYNOPSIS\n\nweir [-w width] file ..."


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (".Fl w Ns Ar width", "-wwidth"),
        (".Fl", "-"),
        (".Pq Ar a", "(a)"),
        (".Oo Ar a Oc", "[ a ]"),
        (".Fx 9", "FreeBSD 9"),
        (".%T Weirs", "Weirs,"),
        (".%D 1890", "1890."),
        (".Nm weir ,", "weir,"),
        (".Ex -std", "The utility exits 0 on success, and >0 if an error occurs."),
        (".Rv -std open", "The open() function returns the value 0 if successful."),
        (".UR https://example.org", "https://example.org"),
    ],
)
def test_commands_of_mdoc_are_shown_as_text(line: str, shown: str):
    assert text(f"{line}\n") == shown


def test_the_name_of_an_mdoc_page_is_put_in_where_its_command_stands_alone():
    assert (
        text(".Nm weir\n.Pp\n.Rs\n.Ex -std\n")
        == "weir\n\nThe weir utility exits 0 on success, and >0 if an error occurs."
    )


def test_items_of_mdoc_lists_begin_with_their_tag():
    assert text(".Bl -tag\n.It Fl w\nWide.\n.It o\nA mark.\n.El\nAfter.\n") == "-w\nWide.\n\n- A mark.\n\nAfter."


def test_lines_of_displays_stay_apart_and_breaks_of_paragraphs_show():
    assert text(".Bd -literal\n  a\n.sp\n  b\n.Ed\nOne\n.br\ntwo.\n") == "  a\n\n  b\n\nOne two."


def test_definitions_and_ignored_parts_are_not_shown():
    assert text(".de XX\nhidden\n..\n.ig END\nhidden too\n.END\nShown.\n") == "Shown."


def test_a_string_is_put_in_where_it_is_named():
    assert text('.ds Wn "Weir\n.ds N water\nThe \\*(Wn holds \\*[N], \\*N; \\*(lqso\\*(rq.\n') == (
        "The Weir holds water, water; “so”."
    )


def test_a_table_has_a_line_for_each_row():
    assert text(".TS\nl l.\nlock\tfee\n_\nMill\tT{\nnine\nT}\n.TE\nAfter.\n") == "lock | fee\nMill | nine\n\nAfter."


@pytest.mark.parametrize("options", ["tab(:);", "allbox, tab (:) ;", "center\ntab(:);"])
def test_the_cells_of_a_table_stand_between_the_marks_that_it_names(options: str):
    page = read(f".SH FEES\nFees.\n.TS\n{options}\nlb l\nl l.\nlock:fee\n_\nMill:nine\nElm:ten\n.TE\nAfter.\n")
    (section,) = page.sections
    (table,) = section.tables
    assert section.text == "FEES\n\nFees.\n\nlock | fee\nMill | nine\nElm | ten\n\nAfter."
    assert (page.text[table.start : table.end], table.header) == ("Mill | nine\nElm | ten", "lock | fee")


def test_a_header_of_two_rows_is_one():
    page = read(".SH FEES\n.TS\nl l.\nlock\tfee\n\tper day\n_\nMill\tnine\n_\nElm\tten\n.TE\n")
    assert [table.header for section in page.sections for table in section.tables] == ["lock | fee\n | per day"]
    assert page.text.endswith("Mill | nine\nElm | ten")


def test_the_blocks_of_a_table_are_cells():
    rows = "T{\nThe\n.B mill\n.br\nlock\nT}:nine:T{\nper\n.BR day (1)\nT}\n.T&\nr l l.\nElm:_:\\(em\n"
    assert text(f".TS\ntab(:);\nl l l.\n{rows}.TE\n") == "The mill lock | nine | per day(1)\nElm |  | —"


def test_a_table_without_an_end_does_not_spoil_the_page():
    assert text("Before.\n.TS\nl l.\nlock\tfee\n") == "Before.\n\nlock | fee"


def test_a_page_that_stands_for_another_is_named():
    with pytest.raises(DataError, match=r"the page stands for man1/weir\.1"):
        read(".so man1/weir.1\n")


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("\\(:a\\[u00E9]\\[char65]\\[:o]\\C'Eu'\\(??", "äéAö€"),
        ("5\\ m \\s+2wide\\s0 \\v'1'a\\h'2m'b", "5 m wide ab"),
        ('a\\"the rest is a remark', "a"),
        ("a \\\nb", "a b"),
        ("\\efile\\&.c", "\\file.c"),
    ],
)
def test_escapes_are_shown_as_characters(line: str, shown: str):
    assert text(f"{line}\n") == shown


def test_quotes_hold_arguments_together():
    assert text('.B "a ""b"" c" d\\ e\n') == 'a "b" c d e'
