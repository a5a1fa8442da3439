from __future__ import annotations

import gzip
import os

import pytest
import zstandard

from rankrag.data.files import located_rows, read_ahead
from rankrag.data.rows import read_passages
from rankrag.documents.loading import Failed, Loaded, load_documents
from rankrag.errors import DataError
from rankrag.types import Passage
from tests.data.published import write

LONG = "word " * 30_000


def test_rows_have_the_names_of_the_first_line_and_their_own_line(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text(f'id\ttext\n1\t"one ""two""\nthree"\n \n2\n3\t{LONG}\n', encoding="utf-8-sig")
    bad = []
    assert list(located_rows(path, on_bad_row=bad.append)) == [
        (f"{path}:3", {"id": "1", "text": 'one "two"\nthree'}),
        (f"{path}:6", {"id": "3", "text": LONG}),
    ]
    assert [str(error) for error in bad] == [f"{path}:5: not as many fields as the others; get the file again"]


def test_a_table_without_names_is_read_too(tmp_path):
    path = tmp_path / "nq.qas.csv"
    path.write_bytes(b"q\ta\n")
    assert list(located_rows(path)) == [(f"{path}:1", {"question": "q", "answers": "a"})]


@pytest.mark.parametrize("name", ["a.tsv.zst", "a.csv.gz", "a.json.zst", "a.jsonl.gz", "a.gz"])
def test_the_name_below_that_of_the_compression_says_the_form(tmp_path, name):
    content = {"t": b"q\n1\n", "c": b"q\n1\n", "j": b'{"q": "1"}\n', "g": b'[{"q": "1"}]'}[name[2]]
    packed = gzip.compress(content) if name.endswith(".gz") else zstandard.compress(content)
    (tmp_path / name).write_bytes(packed)
    assert [row for _, row in located_rows(tmp_path / name)] == [{"q": "1"}]


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("a.tsv.zst", b"no zstandard", "cannot be read"),
        ("no.tsv", None, "cannot be read"),
    ],
)
def test_what_cannot_be_read_is_one_error_and_never_fails_the_other_files(tmp_path, name, content, why):
    path, good = tmp_path / name, tmp_path / "good.txt"
    good.write_text("Good.", encoding="utf-8")
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: {why}"):
        list(located_rows(path))
    failed, loaded = load_documents([path, good], {})
    assert isinstance(failed, Failed)
    assert why in failed.reason
    assert isinstance(loaded, Loaded)


def located(path, subset=""):
    return [(where.rpartition(":")[2], row) for where, row in located_rows(path, subset)]


def test_rows_of_json_have_the_line_they_start_in_or_that_of_their_object_and_their_name(tmp_path):
    path = tmp_path / "rows.json"
    write(path, '\n[\n  {"a": "]"},\n\n  {"b":\n 2}, {"c": 3}]')
    assert located(path) == [("3", {"a": "]"}), ("5", {"b": 2}), ("6", {"c": 3})]
    write(path, '\n{"x": {"1": {"n": "y"}},\n "y": {\n  "1": {"n": 1},\n  "2": {"n": 2}}}')
    assert located(path, "y") == [("2 (1)", {"id": "1", "n": 1}), ("2 (2)", {"id": "2", "n": 2})]


@pytest.mark.parametrize(
    ("text", "subset", "message"),
    [
        ('[{"a": 1},\n {"b"}]', "", r"rows\.json:2: not JSON"),
        ("[1]", "", r"rows\.json:1: holds int"),
        ('{"x": {}}', "y", "no object 'y' \\(found: x\\)"),
        ('{"x": {"1": {}, "1": {}}}', "x", "'1' stands twice"),
        ('{"x": {"1": 5}}', "x", "'1' holds int"),
        ('[{"a": 1},\n', "", r"rows\.json:2: not JSON \(the array has no end\)"),
        ("5", "", r"rows\.json:1: holds int, not a JSON object"),
        ("{", "", "not JSON"),
    ],
)
def test_a_broken_json_file_says_where(tmp_path, text, subset, message):
    write(tmp_path / "rows.json", text)
    with pytest.raises(DataError, match=message):
        list(located_rows(tmp_path / "rows.json", subset))


def test_tables_with_and_without_a_header(tmp_path):
    write(tmp_path / "psgs.tsv", 'id\ttext\ttitle\n1\t"A ""quoted"" text"\tT\n')
    write(tmp_path / "popqa.csv", "id,question\n7,who?\n")
    assert list(read_passages(tmp_path / "psgs.tsv")) == [Passage("1", 'A "quoted" text', "T")]
    assert located(tmp_path / "popqa.csv") == [("2", {"id": "7", "question": "who?"})]
    write(tmp_path / "psgs.tsv", "id\ttext\ttitle\n1\ttext\n")
    with pytest.raises(DataError, match=r"psgs\.tsv:2: not as many fields"):
        list(located_rows(tmp_path / "psgs.tsv"))


def test_rows_of_all_subsets_are_read_without_naming_one(tmp_path):
    write(tmp_path / "rows.json", '{\n "x": {"1": {"n": "y"}},\n "y": {"2": {"n": 2}}}')
    assert located(tmp_path / "rows.json") == [("1 (1)", {"id": "1", "n": "y"}), ("1 (2)", {"id": "2", "n": 2})]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r\n\r\n  \r\n"])
@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.zst", "rows.jsonl.gz", "rows.json", "rows.csv"])
def test_a_byte_order_mark_and_other_line_ends_are_no_part_of_a_row(tmp_path, name, ending):
    row = '{"a": "x y"}' if ".json" in name else f"a{ending[:2]}x y"
    if name == "rows.json":
        row = f"[{ending}{row}{ending}]"
    content = ("\ufeff" + row + ending).encode()
    packed = {"zst": zstandard.compress, "gz": gzip.compress}.get(name.rpartition(".")[2], bytes)
    (tmp_path / name).write_bytes(packed(content))
    assert [row for _, row in located_rows(tmp_path / name)] == [{"a": "x y"}]


def test_a_table_that_is_not_utf_8_is_named(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b"id\ttext\n1\t\xff\xfe\n")
    with pytest.raises(DataError, match=r"a\.tsv: not UTF-8"):
        list(located_rows(tmp_path / "a.tsv"))


def test_reading_ahead_never_fails(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(os, "posix_fadvise", lambda *row: asked.append(row[1:]))
    (tmp_path / "weights").write_bytes(b"x")
    read_ahead(tmp_path / "weights", tmp_path / "missing")
    assert asked == [(0, 0, os.POSIX_FADV_WILLNEED)]
    monkeypatch.delattr(os, "posix_fadvise")
    read_ahead(tmp_path / "weights")
