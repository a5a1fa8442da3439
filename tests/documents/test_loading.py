from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from rankrag.documents.loading import Failed, Loaded, Unchanged, load_documents
from rankrag.types import Source

from .conftest import pdf_bytes

Write = Callable[[str, str | bytes], Path]


def lines(*rows: object) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def load(path: Path) -> Loaded:
    (outcome,) = load_documents([path], {})
    assert isinstance(outcome, Loaded)
    return outcome


def test_a_file_gives_its_passages_and_the_digest_of_its_bytes(file: Write):
    loaded = load(file("d/a.txt", "The Elbe is long."))
    assert (loaded.path, loaded.sha256) == ("d/a.txt", hashlib.sha256(b"The Elbe is long.").hexdigest())
    assert [(p.id, p.text, p.source) for p in loaded.passages] == [
        ("d/a.txt#0", "The Elbe is long.", Source("d/a.txt", start=0, end=17))
    ]
    assert loaded.problems == ()


def test_a_passage_of_a_pdf_names_its_page(file: Write):
    loaded = load(file("a.pdf", pdf_bytes(["One."], ["Two."])))
    assert [str(passage.source) for passage in loaded.passages] == ["a.pdf, page 1", "a.pdf, page 2"]


def test_an_unchanged_file_is_not_parsed(file: Write):
    path = file("broken.pdf", "not a pdf")
    known = {"broken.pdf": hashlib.sha256(b"not a pdf").hexdigest()}
    assert list(load_documents([path], known)) == [Unchanged("broken.pdf")]
    (again,) = load_documents([path], {"broken.pdf": "another digest"})
    assert isinstance(again, Failed)


def test_one_bad_file_does_not_fail_the_others(file: Write):
    Path("folder.txt").mkdir()
    Path("dangling.txt").symlink_to("nowhere")
    good, bad = file("good.txt", "Good."), file("bad.docx", b"bad")
    paths = [bad, Path("folder.txt"), Path("dangling.txt"), Path("caf\udce9.txt"), good]
    *failed, loaded = load_documents(paths, {})
    assert isinstance(loaded, Loaded)
    assert [outcome.reason[:62] for outcome in failed if isinstance(outcome, Failed)] == [
        "bad.docx: a broken or foreign .docx file (BadZipFile: File is ",
        "folder.txt: cannot be read (Is a directory); check its permiss",
        "dangling.txt: cannot be read (No such file or directory); chec",
        "'caf\\udce9.txt': the file's name is not valid Unicode; rename ",
    ]


def test_rows_with_an_id_are_passages_and_stay_whole(file: Write):
    long = "word " * 500
    loaded = load(file("corpus.jsonl", lines({"_id": "d7", "title": "T", "text": long}, {"id": 8, "text": "Short."})))
    assert [(p.id, p.text, p.title, p.source) for p in loaded.passages] == [
        ("d7", long, "T", Source("corpus.jsonl")),
        ("8", "Short.", "", Source("corpus.jsonl")),
    ]


def test_rows_of_medrag_and_flashrag_are_passages(file: Write):
    rows = [
        {"id": "m", "title": "Fever", "content": "It is warm.", "contents": "Fever. It is warm."},
        {"id": "f", "contents": '"Elbe"\nIt is long.\nIt is wide.'},
        {"id": "g", "contents": "One line alone."},
        {"contents": '"Rhine"\nNo id.'},
    ]
    assert [(p.id, p.title, p.text) for p in load(file("c.jsonl", lines(*rows))).passages] == [
        ("m", "Fever", "It is warm."),
        ("f", "Elbe", "It is long.\nIt is wide."),
        ("g", "", "One line alone."),
        ("c.jsonl:4#0", "Rhine", "No id."),
    ]


def test_rows_without_an_id_are_documents_and_are_cut(file: Write):
    text = "The river is long and flows to the sea. " * 20
    loaded = load(file("c.jsonl", lines({"text": text, "title": "Elbe"}, {"text": "Short."})))
    assert [passage.id for passage in loaded.passages] == ["c.jsonl:1#0", "c.jsonl:1#1", "c.jsonl:2#0"]
    assert [passage.title for passage in loaded.passages] == ["Elbe", "Elbe", "c"]
    place = loaded.passages[1].source
    assert place is not None
    assert (place.path, loaded.passages[1].text) == ("c.jsonl:1", text[place.start : place.end])


def test_compressed_rows_are_read(file: Write):
    content = zstandard.compress(lines({"id": "a", "text": "Good."}).encode())
    assert [passage.id for passage in load(file("c.jsonl.zst", content)).passages] == ["a"]


def test_rows_that_cannot_be_used_are_told_with_their_line(file: Write):
    rows = [
        "{",
        {"id": "a", "text": " "},
        {"id": "a"},
        {"id": "b", "text": "\ud800"},
        {"id": "c", "text": "Good."},
        {"id": "c", "text": "Again."},
    ]
    loaded = load(file("c.jsonl", lines(*rows)))
    assert [passage.text for passage in loaded.passages] == ["Good."]
    assert [problem[:28] for problem in loaded.problems] == [
        "c.jsonl:1: not JSON (Expecti",
        "c.jsonl:2: the text is empty",
        "c.jsonl:3: no passage, it ne",
        "c.jsonl:4: not valid Unicode",
        "c.jsonl:6: id 'c' stands in ",
    ]


@pytest.mark.parametrize(("content", "reason"), [("", "c.jsonl: empty"), ("{\n", "c.jsonl:1: not JSON")])
def test_a_file_without_one_good_row_fails(file: Write, content: str, reason: str):
    (failed,) = load_documents([file("c.jsonl", content)], {})
    assert isinstance(failed, Failed)
    assert failed.reason.startswith(reason)


def test_a_file_that_does_not_fit_in_memory_fails_alone(file: Write, monkeypatch: pytest.MonkeyPatch):
    def full(_: Path, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("rankrag.documents.workers.read_document", full)
    (failed,) = load_documents([file("a.txt", "x")], {})
    assert isinstance(failed, Failed)
    assert "MemoryError" in failed.reason
