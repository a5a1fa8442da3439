from __future__ import annotations

import pytest

from rankrag.errors import DataError
from rankrag.journal import append_rows, read_journal, write_whole


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


def test_a_file_is_written_whole(tmp_path):
    write_whole(tmp_path / "a" / "b.json", "new")
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.json"]
