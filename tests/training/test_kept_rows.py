"""Rows are built once for a blend, a tokenizer, a format and limits, and read by later runs."""

from __future__ import annotations

import pytest

from rankrag.errors import DataError
from rankrag.training.kept_rows import KEPT_FILES, kept_rows
from rankrag.training.rows import Row, Tail
from rankrag.types import DataKind

ROWS = [
    Row((1, 2, 3), [Tail((4,), (5, 6), 0.5, DataKind.CONTEXT_RANKING, 7), Tail((8, 9), (5,), 1.0, DataKind.SFT)]),
    Row((), [Tail((10,), (11,), 1.0, DataKind.RETRIEVAL_QA)]),
]


@pytest.fixture
def keep(tmp_path):
    """Ask for rows; `keep.built` counts how often they were built, `keep.said` has what was said."""

    def ask(**depends_on):
        def build():
            ask.built += 1
            return ROWS

        return kept_rows(tmp_path, depends_on, build, ask.said.append)

    ask.built, ask.said = 0, []
    return ask


def test_a_later_run_reads_the_same_rows(keep):
    assert keep(blend="a") == ROWS
    found = keep(blend="a")
    assert found == ROWS
    assert found[0].tails[0].kind is DataKind.CONTEXT_RANKING
    assert keep.built == 1
    assert keep.said == []


def test_rows_that_depend_on_something_else_are_built(keep):
    keep(blend="a", limits=[320, 4096])
    keep(blend="a", limits=[160, 4096])
    assert keep.built == 2


def test_only_the_newest_files_stay(keep, tmp_path):
    for number in range(KEPT_FILES + 2):
        keep(blend=number)
    assert len(list(tmp_path.glob("rows-*.parquet"))) == KEPT_FILES
    assert not list(tmp_path.glob("*.partial"))


def test_a_damaged_file_is_made_anew(keep, tmp_path):
    keep(blend="a")
    (path,) = tmp_path.glob("rows-*.parquet")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert keep(blend="a") == ROWS
    assert keep.built == 2
    assert keep(blend="a") == ROWS
    assert keep.built == 2


def test_where_nothing_can_be_kept_rows_are_built_and_it_is_said(tmp_path):
    said: list[str] = []
    (tmp_path / "file").touch()
    assert kept_rows(tmp_path / "file", {}, lambda: ROWS, said.append) == ROWS
    assert "cannot be kept" in said[0]


def test_a_blend_that_does_not_fit_is_an_error_and_leaves_no_file(tmp_path):
    def build():
        raise DataError("1 examples do not fit")

    with pytest.raises(DataError, match="do not fit"):
        kept_rows(tmp_path, {}, build, lambda _: None)
    assert not list(tmp_path.glob("rows-*.parquet"))
