"""Files that are broken in every way: each is read, or is one error of ours that names it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rankrag.documents.chunking import split
from rankrag.documents.document import Document
from rankrag.documents.readers import read_bytes
from rankrag.errors import DataError

from .files_of import SAMPLES

MUTATIONS = st.lists(
    st.tuples(st.floats(0, 1), st.sampled_from(["cut", "flip", "insert", "double", "drop"]), st.binary(max_size=12)),
    min_size=1,
    max_size=6,
)


def mutated(data: bytes, changes: list[tuple[float, str, bytes]]) -> bytes:
    for share, kind, extra in changes:
        place = int(share * len(data))
        if kind == "cut":
            data = data[:place] or data[:1]
        elif kind == "flip":
            data = data[:place] + bytes(b ^ 0x55 for b in data[place : place + 4]) + data[place + 4 :]
        elif kind == "insert":
            data = data[:place] + extra + data[place:]
        elif kind == "double":
            data = data[:place] + data[max(0, place - 200) :]
        else:
            data = data[:place] + data[place + 40 :]
    return data


def check(name: str, data: bytes) -> None:
    """Read a file; offsets of its passages lead to their text, and errors are ours, one line that names the file."""
    try:
        document = read_bytes(Path(name), data, name)
    except DataError as error:
        message = str(error)
    else:
        check_offsets(document)
        return
    assert message.startswith(f"{name}: ")
    assert "\n" not in message


def check_offsets(document: Document) -> None:
    """Offsets of sections and passages lead to their text."""
    text = document.text
    assert all(text.startswith(section.text, section.start) for section in document.sections)
    for passage in split(document):
        assert passage.source is not None
        piece = text[passage.source.start : passage.source.end]
        assert piece
        assert passage.text == piece or passage.text.endswith(f"\n{piece}")
        passage.text.encode()


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_read_whole(name: str):
    assert read_bytes(Path(name), SAMPLES[name], name).text.strip()
    check(name, SAMPLES[name])


@pytest.mark.parametrize("name", SAMPLES)
@given(changes=MUTATIONS)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_reader_raises_anything_but_our_errors(name: str, changes: list[tuple[float, str, bytes]]):
    check(name, mutated(SAMPLES[name], changes))


@pytest.mark.parametrize("name", [name for name in SAMPLES if name not in ("a.pdf", "a.xlsx")])
@given(data=st.binary(min_size=1, max_size=300))
@settings(max_examples=8, deadline=None)
def test_random_bytes_are_text_or_an_error(name: str, data: bytes):
    check(name, data)
