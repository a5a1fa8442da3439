from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pypdf
import pytest

from rankrag.documents.chunking import Document
from rankrag.documents.readers import find_files, kind, read_document
from rankrag.errors import DataError

from .conftest import docx_bytes, pdf_bytes

Write = Callable[[str, str | bytes], Path]


def parts(document: Document) -> list[tuple[str | None, str]]:
    return [(section.heading, "".join(section.parts).strip()) for section in document.sections]


def text_of(document: Document) -> str:
    return "".join("".join(section.parts) for section in document.sections)


def encrypted_pdf(password: str) -> bytes:
    writer = pypdf.PdfWriter(clone_from=pypdf.PdfReader(io.BytesIO(pdf_bytes(["Secret."]))))
    writer.encrypt(password, owner_password="owner", algorithm="RC4-128")
    held = io.BytesIO()
    writer.write(held)
    return held.getvalue()


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
    with pytest.raises(DataError, match=r"a\.png: cannot read files of this kind; readable are \.txt \.md"):
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


@pytest.mark.parametrize("part", [1, 2, 7, 100])
@pytest.mark.parametrize("name", ["a.txt", "a.md"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "shift_jis"])
def test_a_file_read_in_parts_gives_the_same_document(file: Write, encoding: str, name: str, part: int):
    text = (
        "Before.\r\n\n## Above\n# Flüsse **im** Norden\nDie Elbe fließt über Dresden.\n```\n# code\n~~~\n```\n"
        "## Mündung \t##\nDie Brücke ist schön, die Straße führt über die Höhe.\n~~~ py\n# open\n"
    )
    path = file(name, (text.replace("ü", "河は長い。") * 3).encode(encoding, errors="replace"))

    def outcome(document: Document) -> tuple[str, list[tuple[int, str | None, str]]]:
        return document.title, [(of.start, of.heading, "".join(of.parts)) for of in document.sections]

    whole = outcome(read_document(path))
    assert outcome(read_document(path, part=part)) == whole
    assert len(whole[1]) == (6 if name == "a.md" else 1)


@pytest.mark.parametrize("part", [1, 3, 1_000])
def test_damage_far_into_a_file_is_found_and_its_place_told(file: Write, part: int):
    with pytest.raises(DataError, match=r"damaged UTF-16 \(.* at byte 602\)"):
        read_document(file("a.txt", b"\xff\xfe" + b"a\0" * 300 + b"\0\xdc"), part=part)
    with pytest.raises(DataError, match="a binary file"):
        read_document(file("a.txt", b"\xff" + b"a" * 300 + b"\0"), part=part)
    text = "Die Elbe fließt über Dresden nach Hamburg. " * 40
    assert text_of(read_document(file("a.txt", b"a" * 900 + text.encode("cp1252")), part=part)) == "a" * 900 + text


@pytest.mark.parametrize("part", [1, 1_000, 1 << 20])
def test_an_encoding_is_judged_by_the_same_bytes_whatever_the_part(
    file: Write, part: int, monkeypatch: pytest.MonkeyPatch
):
    import charset_normalizer

    samples = list[bytes]()
    from_bytes = charset_normalizer.from_bytes
    monkeypatch.setattr(charset_normalizer, "from_bytes", lambda data: samples.append(data) or from_bytes(data))
    content = b"\xef\xbb\xbf" + b"plain words " * 4_000 + "über die Straße".encode("cp1252") + b"a" * 40_000
    read_document(file("a.txt", content), part=part)
    assert samples == [content[48_003 - 32_768 : 48_003 + 32_768]]


def test_right_to_left_text_and_emoji_stay_as_they_are(file: Write):
    text = "النهر طويل 🌊 הנהר ארוך 👩‍👩‍👧 河很长"
    assert text_of(read_document(file("a.txt", text))) == text


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"\x7fELF\0\0\1", "a.txt: a binary file, not text; convert it"),
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


def test_bytes_in_no_known_encoding_are_reported(file: Write, monkeypatch: pytest.MonkeyPatch):
    import charset_normalizer

    monkeypatch.setattr(charset_normalizer, "from_bytes", lambda _: charset_normalizer.CharsetMatches())
    with pytest.raises(DataError, match="the encoding of its text is unknown; save it as UTF-8"):
        read_document(file("a.txt", b"\xff\xff"))


def test_a_pdf_encrypted_by_a_cipher_that_is_missing_is_called_encrypted(file: Write, monkeypatch: pytest.MonkeyPatch):
    def missing(*_: object) -> None:
        raise pypdf.errors.DependencyError("cryptography>=3.1 is required for AES algorithm")

    monkeypatch.setattr(pypdf, "PdfReader", missing)
    with pytest.raises(DataError, match=r"a\.pdf: encrypted; remove its password"):
        read_document(file("a.pdf", b"%PDF"))


def test_a_file_that_does_not_fit_in_memory_is_not_called_broken(file: Write, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(pypdf, "PdfReader", full)
    monkeypatch.setattr("markitdown.converters.DocxConverter.convert", full)
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
    sections = [(section.start, section.heading, "".join(section.parts)) for section in document.sections]
    assert [heading for _, heading, _ in sections] == [
        None,
        "Rivers of C#",
        "Rivers of C# > Elbe",
        "Rivers of C# > Elbe > Mouth",
        "Rivers of C# > Oder",
    ]
    assert "".join(part for _, _, part in sections) == text
    assert all(text.startswith(part, start) for start, _, part in sections)


def test_markdown_with_many_headings_and_much_code_is_read_in_linear_time(file: Write):
    document = read_document(file("a.md", "# a" + " " * 50_000 + "b\n" + "## h\n```\nx\n```\n" * 30_000))
    assert len(parts(document)) == 30_001


def test_html_has_the_title_of_the_page_and_its_headings(file: Write):
    page = (
        "<html><head><title> Great\n rivers </title><script>no()</script></head><body>"
        f"<p>{'plain ' * 2000}</p><h1>Elbe</h1><p>Fließt.</p><h2>Mouth</h2><p>河。</p></body></html>"
    )
    document = read_document(file("a.html", page))
    assert document.title == "Great rivers"
    plain, *headed = parts(document)
    assert headed == [("Elbe", "# Elbe\n\nFließt."), ("Elbe > Mouth", "## Mouth\n\n河。")]
    assert "no()" not in plain[1]


def test_html_that_is_nested_too_deeply_still_gives_its_text(file: Write):
    assert "deep" in text_of(read_document(file("a.htm", "<div>" * 3_000 + "deep" + "</div>" * 3_000)))


def test_a_word_file_has_its_headings(file: Write):
    content = docx_bytes(("Heading1", "Rivers"), ("", "The Elbe is long. 🌊"), ("Heading2", "Mouth"), ("", "The sea."))
    document = read_document(file("a.docx", content))
    assert document.title == "Rivers"
    assert parts(document) == [
        ("Rivers", "# Rivers\n\nThe Elbe is long. 🌊"),
        ("Rivers > Mouth", "## Mouth\n\nThe sea."),
    ]


def test_a_pdf_gives_its_title_its_pages_and_whole_words(file: Write):
    content = pdf_bytes(["The river is naviga-", "ble and long."], [""], ["Its mouth."], title="On rivers")
    document = read_document(file("a.pdf", content))
    assert document.title == "On rivers"
    assert [(section.page, section.start, "".join(section.parts)) for section in document.sections] == [
        (1, 0, "The river is navigable and long.\n\n"),
        (2, 34, "\n\n"),
        (3, 36, "Its mouth.\n\n"),
    ]


def test_a_pdf_without_a_title_or_a_user_password_is_read(file: Write):
    document = read_document(file("secret.pdf", encrypted_pdf("")))
    assert (document.title, text_of(document).strip()) == ("secret", "Secret.")


def test_importing_the_readers_loads_no_heavy_library():
    heavy = "{'torch', 'pypdf', 'markitdown', 'lancedb', 'charset_normalizer'}"
    code = f"import sys, rankrag.documents.loading; sys.exit(str({heavy} & set(sys.modules) or ''))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
