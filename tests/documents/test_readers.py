from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pypdfium2
import pytest

from rankrag.documents.document import Document
from rankrag.documents.files import find_files, kind
from rankrag.documents.readers import read_document
from rankrag.errors import DataError

from .conftest import docx_bytes, pdf_bytes

Write = Callable[[str, str | bytes], Path]


def parts(document: Document) -> list[tuple[str | None, str]]:
    return [(section.heading, section.text.strip()) for section in document.sections]


def text_of(document: Document) -> str:
    return document.text


def encrypted_pdf(password: str) -> bytes:
    """A PDF of one page, "Secret.", under AES-256: it opens without a password if that is empty."""
    return (Path(__file__).parent / "files" / f"aes{'_user' if password else ''}.pdf").read_bytes()


def test_folders_are_walked_in_order_without_hidden_files(file: Write):
    for name in (
        "d/b.txt",
        "d/a.md",
        "d/c/x.PDF",
        "d/.hidden.txt",
        "d/.git/y.txt",
        "d/~$z.docx",
        "d/p.png",
        "d/Makefile",
    ):
        file(name, "x")
    found = find_files([Path("d"), Path("d/a.md")])
    assert [path.as_posix() for path in found.files] == ["d/a.md", "d/b.txt", "d/c/x.PDF"]
    assert found.passed_over == {".png": 1, "Makefile": 1}


def test_links_that_make_a_loop_are_not_followed(file: Write):
    file("d/a.txt", "x")
    Path("d/loop").symlink_to(Path("d").resolve(), target_is_directory=True)
    assert find_files([Path("d")]).files == (Path("d/a.txt"),)


def test_a_pipe_in_a_folder_is_passed_over(file: Write):
    file("d/a.txt", "x")
    os.mkfifo("d/b.txt")
    found = find_files([Path("d")])
    assert (found.files, found.passed_over) == ((Path("d/a.txt"),), {".txt": 1})


def test_a_folder_that_cannot_be_entered_is_counted(file: Write, monkeypatch: pytest.MonkeyPatch):
    file("d/a.txt", "x")
    file("d/locked/b.txt", "x")
    scandir = os.scandir

    def locked(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    found = find_files([Path("d")])
    assert (found.files, found.passed_over) == ((Path("d/a.txt"),), {"unreadable folder": 1})


def test_a_path_that_is_not_there_is_named(file: Write):
    with pytest.raises(DataError, match=r"gone\.txt: no such file or folder"):
        find_files([Path("gone.txt")])


def test_a_named_file_of_another_kind_is_an_error_with_the_readable_kinds(file: Write):
    with pytest.raises(DataError, match=r"a\.png: cannot read files of this kind; readable are \.txt .*\.md"):
        find_files([file("a.png", "x")])


def test_a_folder_without_anything_readable_says_what_it_holds(file: Write):
    file("d/a.png", "x")
    with pytest.raises(DataError, match=r"d: nothing to read \(found: 1 \.png\); readable are \.txt"):
        find_files([Path("d")])
    Path("e").mkdir()
    with pytest.raises(DataError, match=r"e: nothing to read \(found: no files\)"):
        find_files([Path("e")])


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.b.TXT", ".txt"), ("a.jsonl.zst", ".jsonl.zst"), ("a.v1.jsonl", ".jsonl"), ("Makefile", ""), ("a.zst", ".zst")],
)
def test_the_ending_says_the_kind(name: str, expected: str):
    assert kind(Path(name)) == expected


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_text_is_read_in_the_encodings_that_are_in_use(file: Write, encoding: str):
    text = "Die Elbe fließt über Dresden nach Hamburg. Die Brücke ist schön, die Straße führt über die Höhe. " * 9
    document = read_document(file("elbe.txt", text.encode(encoding)))
    assert (document.title, text_of(document)) == ("elbe", text)


def test_an_encoding_is_judged_where_the_text_stops_being_ascii(file: Write):
    text = "plain words only " * 10_000 + "die Brücke über die Straße ist schön und größer. " * 3
    assert text_of(read_document(file("a.txt", text.encode("cp1252")))) == text


def test_right_to_left_text_and_emoji_stay_as_they_are(file: Write):
    text = "النهر طويل 🌊 הנהר ארוך 👩‍👩‍👧 河很长"
    assert text_of(read_document(file("a.txt", text))) == text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"\x7fELF\0\0\1", "a.txt: a binary file, not text; convert it"),
        ("a.txt", b"\xff\xd8\xff\xe1" + bytes(range(1, 32)) * 3, "a.txt: a binary file, not text; convert it"),
        ("a.txt", b"", "a.txt: empty; there is nothing"),
        ("a.md", b"\xef\xbb\xbf \n", "a.md: empty; there is nothing"),
        ("a.txt", b"\xff\xfea\0b", "a.txt: damaged UTF-16 (truncated data at byte 4); save it anew"),
        ("a.html", b"<html><body></body></html>", "a.html: empty; there is nothing"),
        ("a.docx", b"PK\3\4 cut off", "a.docx: a broken or foreign .docx file (BadZipFile"),
        ("a.docx", b"only text", "a.docx: a broken or foreign .docx file (BadZipFile"),
        ("a.docx", b"", "a.docx: empty; there is nothing"),
        ("a.pdf", b"", "a.pdf: empty; there is nothing"),
        ("a.pdf", b"not a pdf at all", "a.pdf: a broken PDF ("),
        ("a.pdf", pdf_bytes(["Text."])[:300], "a.pdf: a broken PDF ("),
        ("a.pdf", encrypted_pdf("secret"), "a.pdf: encrypted; remove its password (qpdf --decrypt)"),
        ("a.pdf", pdf_bytes([""], [""]), "a.pdf: 2 pages without text, as scans are; run OCR over it (ocrmypdf)"),
    ],
)
def test_a_file_without_text_is_reported_with_a_remedy_in_one_line(
    file: Write, name: str, content: bytes, message: str
):
    with pytest.raises(DataError) as caught:
        read_document(file(name, content))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_a_file_that_does_not_fit_in_memory_is_not_called_broken(file: Write, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(pypdfium2, "PdfDocument", full)
    monkeypatch.setattr("rankrag.documents.formats.word.Package", full)
    for name in ("a.pdf", "a.docx"):
        with pytest.raises(MemoryError):
            read_document(file(name, b"x"))


def test_markdown_is_cut_at_headings_which_have_their_whole_path(file: Write):
    text = (
        "Before.\n\n# Rivers of **C#** #\nLong.\n## [Elbe](http://x.org) ##\nNorth.\n"
        "```\n# no heading\n```\n### Mouth\nSea.\n## Oder\nEast.\n~~~\n# open code"
    )
    document = read_document(file("a.md", text))
    assert document.title == "Rivers of C#"
    assert [(section.heading, section.text) for section in document.sections] == [
        (None, "Before.\n\n"),
        ("Rivers of C#", "# Rivers of C#\nLong.\n"),
        ("Rivers of C# > Elbe", "## Elbe\nNorth.\n\n# no heading\n\n"),
        ("Rivers of C# > Elbe > Mouth", "### Mouth\nSea.\n"),
        ("Rivers of C# > Oder", "## Oder\nEast.\n\n# open code"),
    ]
    assert all(document.text.startswith(section.text, section.start) for section in document.sections)


def test_markdown_with_many_headings_and_much_code_is_read_in_linear_time(file: Write):
    document = read_document(file("a.md", "# a" + " " * 50_000 + "b\n" + "## h\n```\nx\n```\n" * 10_000))
    assert len(parts(document)) == 10_001


def test_html_has_the_title_of_the_page_and_its_headings(file: Write):
    page = (
        "<html><head><title> Great\n rivers </title><script>no()</script></head><body>"
        f"<p>{'plain ' * 2000}</p><h1>Elbe</h1><p>Fließt.</p><h2>Mouth</h2><p>河。</p></body></html>"
    )
    document = read_document(file("a.html", page))
    assert document.title == "Great rivers"
    plain, *headed = parts(document)
    assert headed == [("Elbe", "Elbe\n\nFließt."), ("Elbe > Mouth", "Mouth\n\n河。")]
    assert "no()" not in plain[1]


def test_html_that_is_nested_too_deeply_still_gives_its_text(file: Write):
    assert "deep" in text_of(read_document(file("a.htm", "<div>" * 3_000 + "deep" + "</div>" * 3_000)))


def test_a_word_file_has_its_headings(file: Write):
    content = docx_bytes(("Heading1", "Rivers"), ("", "The Elbe is long. 🌊"), ("Heading2", "Mouth"), ("", "The sea."))
    document = read_document(file("a.docx", content))
    assert document.title == "Rivers"
    assert parts(document) == [
        ("Rivers", "Rivers\n\nThe Elbe is long. 🌊"),
        ("Rivers > Mouth", "Mouth\n\nThe sea."),
    ]


def test_a_pdf_gives_its_title_its_pages_and_whole_words(file: Write):
    content = pdf_bytes(["The river is naviga-", "ble and long."], [""], ["Its mouth."], title="On rivers")
    document = read_document(file("a.pdf", content))
    assert document.title == "On rivers"
    assert [(section.page, section.start, section.text) for section in document.sections] == [
        (1, 0, "The river is navigable and long.\n\n"),
        (2, 34, "\n\n"),
        (3, 36, "Its mouth.\n\n"),
    ]


def test_a_pdf_without_a_title_or_a_user_password_is_read(file: Write):
    document = read_document(file("secret.pdf", encrypted_pdf("")))
    assert (document.title, text_of(document).strip()) == ("secret", "Secret.")


def test_importing_the_readers_loads_no_heavy_library():
    heavy = "{'torch', 'pypdfium2', 'lxml', 'markdown_it', 'openpyxl', 'lancedb', 'chardet'}"
    code = f"import sys, rankrag.documents.loading; sys.exit(str({heavy} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
