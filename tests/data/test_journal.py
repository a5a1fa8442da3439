from __future__ import annotations

import threading
from itertools import count

import pytest

from rankrag.data.files import write_whole
from rankrag.data.journal import Journal
from rankrag.errors import DataError


def read_journal(path, is_row=lambda _: True):
    """Return the rows of a journal, oldest first."""
    numbers = count()
    return list(Journal(path, lambda row: [(next(numbers), row)], is_row=is_row).values())


def append_rows(path, rows):
    Journal(path, lambda row: []).append(rows)


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


def by_id(row):
    yield row["id"], row["n"]


def doubled(batch):
    return [{"id": key, "n": 2 * value} for key, value in batch.items()]


def test_a_journal_makes_only_what_is_missing_and_keeps_each_batch(tmp_path):
    path, said, batches = tmp_path / "work.jsonl", [], []

    def killed_in_the_second(batch):
        batches.append(list(batch))
        if len(batches) == 2:
            raise KeyboardInterrupt
        return doubled(batch)

    wanted = {"a": 1, "b": 2, "c": 3}
    with pytest.raises(KeyboardInterrupt):
        Journal(path, by_id).fill(wanted, killed_in_the_second, at_once=2)
    again = Journal(path, by_id)
    assert dict(again) == {"a": 2, "b": 4}
    again.fill(wanted, doubled, progress=lambda *heard: said.append(heard), text="doubling")
    assert dict(again) == {"a": 2, "b": 4, "c": 6}
    assert said == [("doubling", 2, 3), ("doubling", 3, 3)]
    assert [row["id"] for row in read_journal(path)] == ["a", "b", "c"]


def test_batches_that_are_made_side_by_side_are_appended_in_their_order(tmp_path):
    first_waits, path = threading.Event(), tmp_path / "work.jsonl"

    def make(batch):
        if "0" in batch:
            assert first_waits.wait(10)  # until the second batch is made
        first_waits.set()
        return doubled(batch)

    wanted = {str(n): n for n in range(20)}
    Journal(path, by_id).fill(wanted, make, at_once=3, side_by_side=2)
    assert [row["id"] for row in read_journal(path)] == list(wanted)


def test_a_key_that_no_row_is_made_for_stays_missing():
    journal = Journal(None, by_id)
    journal.fill({"a": 1, "b": 2}, lambda batch: doubled({k: v for k, v in batch.items() if k != "a"}), at_once=2)
    assert dict(journal) == {"b": 4}


def test_a_row_may_hold_several_keys_and_a_later_one_wins(tmp_path):
    path = tmp_path / "work.jsonl"
    append_rows(path, [{"id": 1, "found": {"x": 1, "y": 2}}, {"id": 1, "found": {"y": 3}}])
    journal = Journal(path, lambda row: (((row["id"], name), n) for name, n in row["found"].items()))
    assert dict(journal) == {(1, "x"): 1, (1, "y"): 3}


def test_rows_in_memory_are_nowhere_on_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    journal = Journal(None, by_id)
    journal.append([{"id": "a", "n": 1}])
    assert journal["a"] == 1
    assert list(tmp_path.iterdir()) == []
