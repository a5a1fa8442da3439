from __future__ import annotations

import pytest

from rankrag.data.files import write_whole
from rankrag.data.journal import append_rows, read_journal
from rankrag.errors import DataError


def test_rows_come_back_in_their_order(tmp_path):
    path = tmp_path / "deep" / "work.jsonl"
    assert read_journal(path) == []
    append_rows(path, [{"id": 1}, {"id": "ü"}])
    append_rows(path, [{"id": 3}])
    assert read_journal(path) == [{"id": 1}, {"id": "ü"}, {"id": 3}]


def test_a_line_that_a_kill_cut_short_is_removed(tmp_path):
    path = tmp_path / "work.jsonl"
    path.write_text('{"id": 1}\n{"id": 2, "repl')
    assert read_journal(path) == [{"id": 1}]
    append_rows(path, [{"id": 2}])
    assert read_journal(path) == [{"id": 1}, {"id": 2}]


def test_a_broken_line_in_the_middle_is_named(tmp_path):
    path = tmp_path / "work.jsonl"
    path.write_text('{"id": 1}\nnonsense\n{"id": 3}\n')
    with pytest.raises(DataError, match=r"work.jsonl:2: .*delete the file"):
        read_journal(path)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("Notes of mine.", 1),
        ("Notes of mine.\nWithout a last line end", 1),
        ('{"id": 1}\nmy own last line', 2),
        ("[1, 2]\n", 1),
        ('{\n  "a": 1\n}', 1),
        ('{"a": 1}', 1),
        ('{"id": 1}\n{"a": 1}\n{"id": 2, "repl', 2),
    ],
)
def test_a_file_that_is_no_journal_stays_as_it_is(tmp_path, content, line):
    path = tmp_path / "notes.txt"
    path.write_text(content)
    with pytest.raises(DataError, match=rf"notes.txt:{line}: .*choose another file"):
        read_journal(path, lambda row: "id" in row)
    assert path.read_text() == content


def test_a_last_row_that_lacks_only_its_line_end_is_kept(tmp_path):
    path = tmp_path / "work.jsonl"
    path.write_text('{"id": 1}\n{"id": 2}')
    assert read_journal(path) == [{"id": 1}, {"id": 2}]
    append_rows(path, [{"id": 3}])
    assert read_journal(path) == [{"id": 1}, {"id": 2}, {"id": 3}]


def test_a_file_is_written_whole(tmp_path):
    write_whole(tmp_path / "a" / "b.json", "new")
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.json"]
