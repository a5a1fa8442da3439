from __future__ import annotations

import dataclasses
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rankrag.errors import DataError
from rankrag.templates import Format, example_prompt, ranking_prompt
from rankrag.training import rows
from rankrag.training.batches import IGNORE, to_batch
from rankrag.training.rows import shared_segments
from rankrag.types import DataKind, Example, Message, Passage, Question


def supervised(encoder, row):
    labels = to_batch([[row]], len(row), 0).labels[0]
    return labels[labels != IGNORE].tolist()


def test_examples_of_one_passage_share_one_row(rows_of, examples_of):
    assert [len(row.tails) for row in rows_of(examples_of())] == [3, 3, 3]


def test_a_row_is_split_where_it_would_be_too_long(rows_of, examples_of):
    rows = rows_of(examples_of(passages=1, questions=12), max_tokens=400)
    assert len(rows) > 1
    assert all(len(row) <= 400 for row in rows)


def test_the_prefix_is_what_the_passages_questions_share():
    prompt = ranking_prompt(Format(), Question("q", "x"), Passage("p", "y"))
    assert prompt[shared_segments(prompt, "passage_first") - 1].kind == "passage"
    chat = example_prompt(Format(), Example(DataKind.SFT, "s", Question("q", "x"), (), "t"))[0]
    assert shared_segments(chat, "passage_first") == 0


def test_the_prompt_that_is_trained_is_the_one_that_is_scored(rows_of, examples_of, encoder):
    (example, *_) = examples_of(passages=1, questions=1)
    (row,) = rows_of([example])
    scored = ranking_prompt(encoder.contract.format, example.question, example.contexts[0])
    assert [*row.prefix, *row.tails[0].ids] == encoder.encode([scored])[0].ids
    assert row.tails[0].target[0] == encoder.contract.label_ids[0]


def test_examples_without_passages_stay_alone_with_the_last_reply_as_their_only_target(rows_of, mixed, encoder):
    chats = [row for row in rows_of(mixed) if not row.prefix]
    assert [len(row.tails) for row in chats] == [1, 1]
    assert supervised(encoder, chats[0]) == encoder.encode_target("a long reply of words")
    read = encoder.tokenizer.decode(chats[0].tails[0].ids)
    assert "user\nHi" in read
    assert "assistant\nHello" in read
    assert "Passage" not in read


def test_the_oldest_turns_are_left_out_where_a_conversation_is_too_long(rows_of, encoder):
    turns = [Message("user" if i % 2 == 0 else "assistant", f"turn{i} " * 20) for i in range(6)]
    example = Example(DataKind.SFT, "s", Question("q", "last?", tuple(turns), style="plain"), (), "reply")
    (row,) = rows_of([example], max_tokens=600)
    read = encoder.tokenizer.decode(row.tails[0].ids)
    assert len(row) <= 600
    assert "turn0" not in read
    assert "turn5" in read
    assert supervised(encoder, row) == encoder.encode_target("reply")


@settings(max_examples=60)
@given(data=st.data(), limit=st.integers(260, 700), kind=st.sampled_from(DataKind))
def test_no_limit_ever_removes_a_target_token(rows_of, encoder, data, limit, kind):
    words = st.text("ab <|im_end|>", max_size=400)
    passages = {DataKind.SFT: 0, DataKind.CONTEXT_QA: 1, DataKind.CONTEXT_RANKING: 1}.get(kind, 3)
    contexts = tuple(Passage(str(i), data.draw(words)) for i in range(passages))
    history = tuple(
        Message("user" if i % 2 == 0 else "assistant", data.draw(words))
        for i in range(data.draw(st.sampled_from([0, 2, 4])))
    )
    target = "True" if kind is DataKind.CONTEXT_RANKING else data.draw(st.text("xyz ", min_size=1, max_size=300))
    example = Example(kind, "s", Question("q", "why?", history, style="plain"), contexts, target)
    try:
        (row,) = rows_of([example], max_tokens=limit)
    except DataError:  # refused aloud, never cut
        return
    assert len(row) <= limit
    assert supervised(encoder, row) == encoder.encode_target(target)


def test_examples_that_do_not_fit_are_listed_together(rows_of, examples_of):
    good = examples_of(passages=1, questions=1)[0]
    long_target = dataclasses.replace(good, kind=DataKind.CONTEXT_QA, target="word " * 300)
    long_question = dataclasses.replace(good, question=Question("x", "why " * 300))
    with pytest.raises(DataError, match=r"2 examples do not fit: s/0: the target has \d+ tokens.*s/x: question and"):
        rows_of([long_target, good, long_question], max_tokens=400)


@pytest.mark.parametrize("before", [None, "false"])
def test_encoding_says_how_far_it_is_and_leaves_the_environment_as_it_was(encoder, mixed, monkeypatch, before):
    monkeypatch.setattr(rows, "AT_ONCE", 3)
    monkeypatch.setattr(rows, "SAY_EVERY", 1)
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    if before:
        monkeypatch.setenv("TOKENIZERS_PARALLELISM", before)
    said = []
    found = rows.build_rows(encoder, mixed, limit=300, row_tokens=300, say=said.append)
    assert sum(len(row.tails) for row in found) == len(mixed)
    assert said == [f"Encoding the blend: {done} examples" for done in (3, 6, 9)]
    assert os.environ.get("TOKENIZERS_PARALLELISM") == before
