"""Prefix and tails give the scores that each prompt gets alone, whatever stands beside it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rankrag.encoding import EncodedPrompt
from rankrag.models import packing
from rankrag.models.states import State
from rankrag.models.transformers import TransformersModel
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Question

from ..conftest import save_random

LABELS = ["True", "False"]
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 2048,
    "initializer_range": 0.3,
}
ARCHITECTURES = {
    "llama": SIZES,
    "qwen2": SIZES,
    "mistral": SIZES | {"sliding_window": 1024},
    "mistral-short-window": SIZES | {"sliding_window": 32},
    "gpt2": {"n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 2048, "initializer_range": 0.3},
    "bloom": {"hidden_size": 64, "n_layer": 2, "n_head": 4, "initializer_range": 0.3},
}
SHARING = {"llama", "qwen2", "mistral", "gpt2"}


def opened(name, tokenizer, folder, **options):
    save_random(name.partition("-")[0], tokenizer, folder, **ARCHITECTURES[name])
    return TransformersModel(folder, device="cpu", dtype="float32", **options)


@pytest.fixture(scope="module")
def llama(tokenizer, tmp_path_factory):
    return opened("llama", tokenizer, tmp_path_factory.mktemp("llama"))


def prompts_of(model, passages=4, questions=3):
    return model.encode(
        [
            ranking_prompt(
                model.contract.format,
                Question(f"q{j}", "why " * (j + 1) + "so?"),
                Passage(f"p{i}", f"number {i} " * (5 * i % 7 + 1)),
            )
            for j in range(questions)
            for i in range(passages)
        ]
    )


def slow_logprobs(model, prompt):
    with torch.no_grad():
        logits = model.model(input_ids=torch.tensor([prompt.ids]), use_cache=False).logits[0, -1].double()
    return torch.log_softmax(logits, -1)[list(model.contract.label_ids)].tolist()


def apart(model, prompts):
    """The largest difference of a log-probability from that of the slow, obvious way."""
    pairs = zip(model.choice_logprobs(prompts, LABELS), prompts, strict=True)
    return max(abs(a - b) for row, prompt in pairs for a, b in zip(row, slow_logprobs(model, prompt), strict=True))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_scores_are_those_of_each_prompt_alone(name, tokenizer, tmp_path):
    model = opened(name, tokenizer, tmp_path)
    prompts = prompts_of(model)
    scores = [true - false for true, false in model.choice_logprobs(prompts, LABELS)]
    assert max(scores) - min(scores) > 0.5  # else nothing could be told apart
    assert apart(model, prompts) < 1e-4
    assert model.can_share(prompts) == (name in SHARING)


def test_scores_do_not_depend_on_neighbours_or_the_size_of_a_batch(llama, tokenizer, tmp_path):
    prompts = prompts_of(llama)
    together = llama.choice_logprobs(prompts, LABELS)
    small = opened("llama", tokenizer, tmp_path, tokens_per_batch=64)
    for rows in ([small.choice_logprobs([p], LABELS)[0] for p in prompts], small.choice_logprobs(prompts, LABELS)):
        for row, expected in zip(rows, together, strict=True):
            assert row == pytest.approx(expected, abs=1e-4)


def test_a_mask_that_leaks_between_tails_is_seen(llama, monkeypatch):
    monkeypatch.setattr(packing, "visible", lambda tail: torch.ones(*tail.shape, tail.shape[1]).tril().bool())
    assert apart(llama, prompts_of(llama)) > 1e-2


def test_positions_that_do_not_restart_are_seen(llama, monkeypatch):
    lay_out = packing.lay_out

    def shifted(rows, pad_id, device="cpu"):
        laid = lay_out(rows, pad_id, device)
        root = len(rows[0].past)
        straight = torch.arange(root, root + laid.positions.shape[1]).expand_as(laid.positions)
        return replace(laid, positions=straight)

    monkeypatch.setattr(packing, "lay_out", shifted)
    assert apart(llama, prompts_of(llama)) > 1e-2


def encoded(*segments):
    return EncodedPrompt((), tuple(segments))


def test_whole_segments_are_shared_and_a_tail_is_never_empty():
    root, rows = packing.share(
        [encoded((1, 2), (3,), (4,)), encoded((1, 2), (5, 6), (4,)), encoded((1, 2), (3,), (7, 8))]
    )
    assert root == (1, 2)
    assert [(row.prefix, row.tails, row.places) for row in rows] == [
        ((3,), [(4,), (7, 8)], [0, 2]),
        ((5, 6), [(4,)], [1]),
    ]


def test_equal_prompts_keep_a_row_and_a_tail():
    root, (row,) = packing.share([encoded((1,), (2,), (3,))] * 2)
    assert (root, row.prefix, row.tails, row.places) == ((1,), (2,), [(3,), (3,)], [0, 1])


def test_a_row_is_closed_before_it_grows_too_long():
    tail = tuple(range(200))
    _, rows = packing.share([encoded((1,), (2,), (i, *tail)) for i in range(5)])
    assert [len(row.tails) for row in rows] == [2, 2, 1]
    assert all(len(row) <= packing.ROW_TOKENS for row in rows)


def test_a_token_sees_the_root_its_prefix_and_its_own_tail():
    laid = packing.lay_out([packing.SharedRow((7,), [(8, 9), (5,)], [0, 1], State((1, 2)))], pad_id=0)
    assert laid.input_ids.tolist() == [[7, 8, 9, 5]]
    assert laid.positions.tolist() == [[2, 3, 4, 3]]
    assert laid.visible[0, 0].int().tolist() == [
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 1, 0],
        [1, 1, 1, 0, 0, 1],
    ]
    assert laid.ends == ((0, 0, 2), (1, 0, 3))


def test_a_batch_takes_no_rows_that_would_be_mostly_padding():
    rows = [packing.SharedRow((1,) * length) for length in (48, 100, 50, 95, 49)]

    def lengths(tokens):
        return [[len(row) for row in batch] for batch in packing.batches(rows, lambda: tokens)]

    assert lengths(400) == [[100, 95], [50, 49, 48]]
    assert lengths(100) == [[100], [95], [50, 49], [48]]  # never more than these tokens
    assert lengths(2000) == [[100, 95, 50, 49, 48]]  # so few that another batch would cost more
    assert lengths(1) == [[100], [95], [50], [49], [48]]
