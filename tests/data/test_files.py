from __future__ import annotations

import pytest
import zstandard

from rankrag.data.files import read_table
from rankrag.documents.loading import Failed, Loaded, load_documents
from rankrag.errors import DataError

LONG = "word " * 30_000


def test_rows_have_the_names_of_the_first_line_and_their_own_line(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text(f'id\ttext\n1\t"one ""two""\nthree"\n2\n3\t{LONG}\n', encoding="utf-8-sig")
    assert list(read_table(path)) == [
        (3, {"id": "1", "text": 'one "two"\nthree'}),
        (4, None),
        (5, {"id": "3", "text": LONG}),
    ]


def test_a_compressed_table_without_names_is_read_too(tmp_path):
    path = tmp_path / "a.tsv.zst"
    path.write_bytes(zstandard.compress(b"q,a\n"))
    assert list(read_table(path, ("question", "answers"), delimiter=",")) == [(1, {"question": "q", "answers": "a"})]


@pytest.mark.parametrize(
    ("name", "content"), [("a.tsv", b"id\ttext\n1\t\xff\xfe\n"), ("a.tsv.zst", b"no zstandard"), ("no.tsv", None)]
)
def test_what_cannot_be_read_is_one_error_and_never_fails_the_other_files(tmp_path, name, content):
    path, good = tmp_path / name, tmp_path / "good.txt"
    good.write_text("Good.", encoding="utf-8")
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: cannot be read"):
        list(read_table(path))
    failed, loaded = load_documents([path, good], {})
    assert isinstance(failed, Failed)
    assert "cannot be read" in failed.reason
    assert isinstance(loaded, Loaded)
