"""A blend is encoded once: what is kept gives the same ids, and is made anew for anything else."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from rankrag.data.examples import write_examples
from rankrag.encoding import PromptEncoder
from rankrag.training import encoded
from rankrag.training.encoded import KEPT_FILES, encoded_blend
from rankrag.training.rows import encode_examples

LIMIT = 300


@pytest.fixture
def blend(tmp_path, mixed):
    write_examples(tmp_path / "examples.jsonl.zst", mixed)
    return tmp_path / "examples.jsonl.zst"


@pytest.fixture
def calls(monkeypatch):
    """How often a blend was really encoded."""
    made = []

    def counted(*given):
        made.append(given)
        return encode_examples(*given)

    monkeypatch.setattr(encoded, "encode_examples", counted)
    return made


def test_the_second_run_reads_the_ids_of_the_first(blend, encoder, mixed, calls):
    first = list(encoded_blend(encoder, blend, LIMIT, tokenizer_sha256="t"))
    assert first == list(encode_examples(encoder, mixed, LIMIT))
    assert list(encoded_blend(encoder, blend, LIMIT, tokenizer_sha256="t")) == first
    assert len(calls) == 1


def test_what_the_ids_depend_on_makes_another_file(blend, encoder, calls):
    other = PromptEncoder(encoder.tokenizer, replace(encoder.contract, passage_tokens=5))
    for asked, limit, tokenizer in ((encoder, LIMIT, "t"), (other, LIMIT, "t"), (encoder, 99, "t"), (encoder, 99, "u")):
        list(encoded_blend(asked, blend, limit, tokenizer_sha256=tokenizer))
    assert len(calls) == 4
    assert len(list(blend.parent.glob("encoded-*.npz"))) == KEPT_FILES


def test_a_changed_blend_is_encoded_anew(blend, encoder, mixed, calls):
    list(encoded_blend(encoder, blend, LIMIT, tokenizer_sha256="t"))
    write_examples(blend, mixed[:-1])
    found = list(encoded_blend(encoder, blend, LIMIT, tokenizer_sha256="t"))
    assert [example for example, _ in found] == mixed[:-1]
    assert len(calls) == 2


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"?" * len(b)])
def test_a_damaged_file_is_made_anew(blend, encoder, damage, calls):
    first = list(encoded_blend(encoder, blend, LIMIT, tokenizer_sha256="t"))
    (kept,) = blend.parent.glob("encoded-*.npz")
    kept.write_bytes(damage(kept.read_bytes()))
    assert list(encoded_blend(encoder, blend, LIMIT, tokenizer_sha256="t")) == first
    assert len(calls) == 2


def test_examples_that_do_not_fit_keep_their_reason(blend, encoder, calls):
    for _ in range(2):
        found = [one for _, one in encoded_blend(encoder, blend, 3, tokenizer_sha256="t")]
        assert all(one.problem.startswith(("the target has", "question and instructions take")) for one in found)
    assert len(calls) == 1


def test_where_nothing_can_be_kept_a_run_goes_on_and_says_so(blend, encoder, mixed, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(encoded, "_write", full)
    said = []
    found = list(encoded_blend(encoder, blend, LIMIT, tokenizer_sha256="t", say=said.append))
    assert found == list(encode_examples(encoder, mixed, LIMIT))
    assert said == [f"{blend.parent}: encoded examples cannot be kept there (No space left on device)"]


@pytest.mark.parametrize("before", [None, "false"])
def test_encoding_says_how_far_it_is_and_leaves_the_environment_as_it_was(blend, encoder, monkeypatch, before):
    monkeypatch.setattr(encoded, "SAY_EVERY", 3)
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    if before:
        monkeypatch.setenv("TOKENIZERS_PARALLELISM", before)
    said = []
    list(encoded_blend(encoder, blend, LIMIT, tokenizer_sha256="t", say=said.append))
    assert said == ["Encoding the blend: 3 examples", "Encoding the blend: 6 examples"]
    assert os.environ.get("TOKENIZERS_PARALLELISM") == before
