"""Training examples survive a round trip through their file, and a bad row is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rankrag.data.examples import read_examples, write_examples
from rankrag.data.files import write_rows
from rankrag.errors import DataError
from rankrag.types import DataKind, Example, Message, Passage, Question

texts = st.text(max_size=20)
turns = st.lists(texts.filter(str.strip), max_size=3).map(
    lambda said: tuple(Message("assistant" if i % 2 else "user", text) for i, text in enumerate(said))
)
options = st.just(()) | st.lists(texts, min_size=2, max_size=4).map(tuple)
questions = st.builds(
    Question,
    id=texts,
    text=texts,
    history=turns,
    answers=st.just(()),
    style=st.sampled_from(["short", "conversation", "choice"]),
    options=options,
)
passages = st.builds(Passage, id=texts, text=texts, title=texts)
examples = st.builds(
    Example,
    kind=st.sampled_from(DataKind),
    source=texts,
    question=questions,
    contexts=st.lists(passages, max_size=3).map(tuple),
    target=texts,
)


@given(written=st.lists(examples, max_size=4))
def test_what_is_read_is_what_was_written(written: list[Example], tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("examples") / "examples.jsonl.zst"
    assert write_examples(path, written) == len(written)
    assert list(read_examples(path)) == written


@pytest.mark.parametrize("spoil", [{"kind": "poem"}, {"target": None}, {"contexts": [{"id": "p"}]}])
def test_a_row_that_is_no_example_is_named_by_file_and_line(spoil: dict[str, object], tmp_path: Path) -> None:
    good = {"kind": "sft", "source": "s", "id": "q", "question": "why?", "contexts": [], "target": "so"}
    path = tmp_path / "examples.jsonl"
    write_rows(path, [good, {key: value for key, value in {**good, **spoil}.items() if value is not None}])
    with pytest.raises(DataError, match=r"examples\.jsonl:2: no training example"):
        list(read_examples(path))
