from __future__ import annotations

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rankrag.contract import Contract
from rankrag.encoding import PromptEncoder, chat_turns
from rankrag.templates import Format, ranking_prompt, render
from rankrag.training.rows import IGNORE, Row, attention_mask, build_rows, pack, shared_segments, to_batch
from rankrag.training.run import supervised
from rankrag.types import DataKind, Example, Passage, Question


@pytest.fixture(scope="module")
def encoder(tokenizer):
    return PromptEncoder(tokenizer, Contract(format=Format(turns=chat_turns(tokenizer)), max_tokens=1024))


def examples(passages=3, questions=3, words=6):
    return [
        Example(DataKind.CONTEXT_RANKING, "s", Question(f"{p}/{q}", "why " * (q + 1)), (Passage(str(p), f"{p} word " * words),), "True")  # noqa: E501
        for p in range(passages)
        for q in range(questions)
    ]  # fmt: skip


def rows_of(encoder, found, max_tokens=1024):
    return build_rows(encoder, found, max_tokens=max_tokens, label_weight=2.0, answer_weight=0.5)


def test_examples_of_one_passage_share_one_row(encoder):
    rows = rows_of(encoder, examples())
    assert [len(row.tails) for row in rows] == [3, 3, 3]


def test_a_row_is_split_where_it_would_be_too_long(encoder):
    rows = rows_of(encoder, examples(passages=1, questions=12), max_tokens=400)
    assert len(rows) > 1
    assert all(len(row) <= 400 for row in rows)


def test_the_prefix_is_what_the_passages_questions_share():
    prompt = ranking_prompt(Format(), Question("q", "x"), Passage("p", "y"))
    assert prompt[shared_segments(prompt, "passage_first") - 1].kind == "passage"
    assert (
        shared_segments(render(Format(), Example(DataKind.SFT, "s", Question("q", "x"), (), "t"))[0], "passage_first")
        == 0
    )


def test_every_tail_gets_the_logits_its_example_gets_alone(encoder, tiny_model_dir):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir, dtype=torch.float32).eval()
    rows = rows_of(encoder, examples(passages=2))
    length = sum(map(len, rows)) + 5
    with torch.no_grad():
        packed, *_ = supervised(model, to_batch([rows], length, 0))
        alone = []
        for row in rows:
            for tail in row.tails:
                ids = torch.tensor([[*row.prefix, *tail.ids, *tail.target]])
                alone.append(model(input_ids=ids).logits[0, -len(tail.target) - 1 : -1])
    assert torch.allclose(packed, torch.cat(alone), atol=1e-4)


@settings(deadline=None, max_examples=30)
@given(limit=st.integers(250, 600), words=st.integers(1, 120))
def test_the_supervised_tokens_are_exactly_the_targets(encoder, limit, words):
    rows = rows_of(encoder, examples(passages=1, questions=2, words=words), max_tokens=limit)
    for row in rows:
        labels = to_batch([[row]], len(row), 0).labels[0]
        assert labels[labels != IGNORE].tolist() == encoder.encode_target("True") * len(row.tails)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(0, 5))
def test_packing_covers_each_row_once_and_never_overflows(lengths, seed):
    rows = [Row(tuple(range(length))) for length in lengths]
    batches = pack(rows, tokens=60, rng=random.Random(seed), window=16)
    assert sorted(id(row) for batch in batches for part in batch for row in part) == sorted(map(id, rows))
    for batch in batches:
        assert len(batch) * max(sum(map(len, part)) for part in batch) <= 60


def test_a_token_sees_its_prefix_and_its_own_tail_only(encoder):
    rows = rows_of(encoder, examples(passages=2, questions=2))
    batch = to_batch([rows], sum(map(len, rows)), 0)
    seen = attention_mask(batch, torch.float32)[0, 0] == 0
    member, tail = batch.member[0].tolist(), batch.tail[0].tolist()
    for i in range(0, len(member), 7):
        for j in range(len(member)):
            expected = j <= i and member[i] == member[j] and tail[j] in (0, tail[i])
            assert bool(seen[i, j]) == expected
