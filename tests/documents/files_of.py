# ruff: noqa: E501
"""Small files of every format, made by hand: for the tests of readers and for mutations."""

from __future__ import annotations

import io
import zipfile

from .conftest import docx_bytes, pdf_bytes

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
R = 'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"'
A = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
P = 'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main"'
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
ODF = " ".join(
    f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"'
    for name in ("office", "text", "table", "style", "fo", "meta")
)


def zipped(files: dict[str, str | bytes]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as package:
        for name, content in files.items():
            package.writestr(name, content)
    return held.getvalue()


def relations(*found: tuple[str, str]) -> str:
    rows = "".join(
        f'<Relationship Id="r{number}" Type="{OFFICE}/{kind}" Target="{target}"/>'
        for number, (kind, target) in enumerate(found, start=1)
    )
    return f'<Relationships xmlns="{RELATIONS}">{rows}</Relationships>'


def word(body: str, **parts: str) -> bytes:
    """A Word file with this body; parts are "header1" and the like, or "footnotes", "styles", "numbering"."""
    kinds = [(name.rstrip("0123456789"), f"{name}.xml") for name in parts]
    files: dict[str, str | bytes] = {
        "_rels/.rels": relations(("officeDocument", "word/document.xml")),
        "word/_rels/document.xml.rels": relations(*kinds),
        "word/document.xml": f"<w:document {W} {R}><w:body>{body}</w:body></w:document>",
    }
    files.update({f"word/{name}.xml": content for name, content in parts.items()})
    return zipped(files)


def paragraph(text: str, look: str = "") -> str:
    return f'<w:p>{look}<w:r><w:t xml:space="preserve">{text}</w:t></w:r></w:p>'


def odt(body: str, styles: str = "", **parts: str) -> bytes:
    """An OpenDocument text with this body and these styles; `parts` are further files by name."""
    return zipped(
        {
            "mimetype": "application/vnd.oasis.opendocument.text",
            "content.xml": f"<office:document-content {ODF}><office:automatic-styles>{styles}"
            f"</office:automatic-styles><office:body><office:text>{body}</office:text></office:body>"
            "</office:document-content>",
            "meta.xml": f'<office:document-meta {ODF} xmlns:dc="http://purl.org/dc/elements/1.1/"><office:meta>'
            "<dc:title>Dyke book</dc:title></office:meta></office:document-meta>",
            **parts,
        }
    )


def pptx(*slides: str, hidden: int | None = None, **parts: str) -> bytes:
    """A presentation of these slides, of which one may be hidden; `parts` are further files by name."""
    ids = "".join(f'<p:sldId id="{255 + n}" r:id="r{n}"/>' for n in range(1, len(slides) + 1))
    files: dict[str, str | bytes] = {
        "_rels/.rels": relations(("officeDocument", "ppt/presentation.xml")),
        "ppt/presentation.xml": f"<p:presentation {P} {R}><p:sldIdLst>{ids}</p:sldIdLst></p:presentation>",
        "ppt/_rels/presentation.xml.rels": relations(
            *(("slide", f"slides/slide{n}.xml") for n in range(1, len(slides) + 1))
        ),
    }
    for number, content in enumerate(slides, start=1):
        show = ' show="0"' if number == hidden else ""
        files[f"ppt/slides/slide{number}.xml"] = (
            f"<p:sld {P} {A}{show}><p:cSld><p:spTree>{content}</p:spTree></p:cSld></p:sld>"
        )
    return zipped(files | parts)


def shape(*paragraphs: str, kind: str = "") -> str:
    place = f'<p:nvSpPr><p:nvPr><p:ph type="{kind}"/></p:nvPr></p:nvSpPr>' if kind else ""
    texts = "".join(f"<a:p><a:r><a:t>{text}</a:t></a:r></a:p>" for text in paragraphs)
    return f"<p:sp>{place}<p:txBody>{texts}</p:txBody></p:sp>"


def epub(*chapters: str, title: str = "The weir book", **files: str) -> bytes:
    items = "".join(
        f'<item id="c{n}" href="text/c{n}.xhtml" media-type="application/xhtml+xml"/>' for n in range(len(chapters))
    )
    spine = "".join(f'<itemref idref="c{n}"/>' for n in range(len(chapters)))
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container><rootfiles><rootfile full-path="OEBPS/book.opf"/></rootfiles></container>',
            "OEBPS/book.opf": '<package><metadata xmlns:dc="http://purl.org/dc/elements/1.1/">'
            f"<dc:title>{title}</dc:title></metadata><manifest>{items}</manifest><spine>{spine}</spine></package>",
            **{f"OEBPS/text/c{n}.xhtml": chapter for n, chapter in enumerate(chapters)},
            **{name.replace("__", "/"): content for name, content in files.items()},
        }
    )


def xlsx(rows: list[list[object]], *, hidden: bool = False) -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Locks"
    for row in rows:
        sheet.append(row)
    if hidden:
        book.create_sheet("Drafts").sheet_state = "hidden"
        book["Drafts"].append(["secret"])
    held = io.BytesIO()
    book.save(held)
    return held.getvalue()


MAIL = b"""From: Ada <ada@example.org>
To: harbour@example.org
Date: Mon, 30 Nov 2026 10:00:00 +0000
Subject: =?utf-8?q?Schl=C3=BCssel?=
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="b"

--b
Content-Type: text/plain; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

The key is under the gr=FCne mat.

--b
Content-Type: text/csv; name="rota.csv"
Content-Disposition: attachment; filename="rota.csv"

day,guard
Monday,Bo
--b
Content-Type: application/octet-stream; name="plan.dwg"
Content-Disposition: attachment; filename="plan.dwg"

xx
--b--
"""

SAMPLES: dict[str, bytes] = {
    "a.txt": "The weir is 12 m wide. Über den Fluss führt ein Steg.\n\nIt was built in 1890.".encode(),
    "a.md": b"---\ntitle: Weir\n---\n# Weir\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```sh\n# x\n```\n<b>bold</b>\n",
    "a.rst": b"Weir\n====\n\nText.\n\nBank\n----\n\nMore.\n",
    "a.html": b"<html><head><meta charset=utf-8><title>W</title></head><body><nav><a href=x>Home</a></nav><h1>Weir</h1>"
    b"<p>12 m<sup>2</sup></p><table><tr><th>a</th><th>b</th></tr><tr><td>1</td><td>2</td></tr></table></body></html>",
    "a.pdf": pdf_bytes(["The weir is wide.", "It is old."], ["Second page."], title="Weirs"),
    "a.docx": docx_bytes(("Heading1", "Weir"), ("", "It is old.")),
    "a.odt": odt('<text:h text:outline-level="1">Weir</text:h><text:p>It is old.</text:p>'),
    "a.rtf": rb"{\rtf1\ansi{\fonttbl{\f0 Arial;}}\f0 The weir is {\b old}.\par It is wide\'e4.\par}",
    "a.epub": epub("<html><body><h1>Weir</h1><p>It is old.</p></body></html>"),
    "a.pptx": pptx(shape("Weir", kind="title") + shape("It is old.")),
    "a.csv": b"lock,year\nMill,1890\nMoor,1901\n",
    "a.xlsx": xlsx([["lock", "year"], ["Mill", 1890]]),
    "a.eml": MAIL,
    "a.1": b".TH WEIR 1\n.SH NAME\nweir \\- hold water\n.SH OPTIONS\n.TP\n.B \\-w\nWide.\n",
}
"""A small file of each format, by name."""
