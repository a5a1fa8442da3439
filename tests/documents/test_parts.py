from __future__ import annotations

import pytest

from rankrag.documents.parts import LAST, file_of, part_name


@pytest.mark.parametrize("part", [part_name(0), part_name(12), part_name(1_000_000), LAST])
def test_a_part_is_below_its_file(part: str):
    assert file_of(f"/docs/wiki.tsv/{part}") == "/docs/wiki.tsv"


@pytest.mark.parametrize("name", ["/docs/000000.txt", "/docs/end.md", "000000", "/000001/a.txt", "/docs/weekend"])
def test_a_whole_file_is_its_own(name: str):
    assert file_of(name) == name
