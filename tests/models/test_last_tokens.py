from __future__ import annotations

import pytest
import torch

from rankrag.models.last_tokens import last_tokens_only
from rankrag.models.loading import layers_of
from rankrag.models.transformers import TransformersModel
from rankrag.rerank import judge
from rankrag.types import Passage, Question

from ..conftest import TINY_LLAMA, save_random

GPT2 = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 1024, "initializer_range": 0.3}
MIXTRAL = TINY_LLAMA | {"num_local_experts": 2, "num_experts_per_tok": 1}
PAIRS = [(Question("q", f"why {i % 2}?"), Passage(str(i // 2), f"word {i // 2} " * (i + 1))) for i in range(6)]


def tokens_read(model, layer):
    """Judge pairs; return how many tokens the feed-forward part of a layer took, and the log-odds."""
    seen = []
    part = layers_of(model.model)[layer].mlp
    handle = part.register_forward_hook(lambda _part, inputs, _output: seen.append(inputs[0].shape[:2].numel()))
    try:
        odds = [j.log_odds for j in judge(model, PAIRS)]
    finally:
        handle.remove()
    return sum(seen), odds


@pytest.mark.parametrize(
    ("kind", "sizes", "skips"), [("llama", TINY_LLAMA, True), ("gpt2", GPT2, True), ("mixtral", MIXTRAL, False)]
)
def test_the_last_layer_s_feed_forward_part_takes_the_last_tokens_alone(
    kind, sizes, skips, tokenizer, tmp_path, monkeypatch
):
    model = TransformersModel(save_random(kind, tokenizer, tmp_path, **sizes), device="cpu", dtype="float32")
    first, _ = tokens_read(model, 0)
    monkeypatch.setattr("rankrag.models.last_tokens._TOKENWISE", ())
    whole, exact = tokens_read(model, -1)
    monkeypatch.undo()
    few, odds = tokens_read(model, -1)
    assert whole == first
    assert (few < whole / 4) == skips
    assert odds == pytest.approx(exact, abs=1e-4)


def test_it_ends_with_its_context_also_after_an_error(tiny_model_dir):
    model = TransformersModel(tiny_model_dir, device="cpu", dtype="float32").model
    ids = torch.tensor([[1, 2, 3]])
    before = model(ids).logits
    with last_tokens_only(model, torch.tensor([0]), torch.tensor([2])):
        inside = model(ids).logits
    with pytest.raises(IndexError), last_tokens_only(model, torch.tensor([0]), torch.tensor([9])):
        model(ids)
    assert torch.equal(model(ids).logits, before)
    assert torch.allclose(inside[0, 2], before[0, 2], atol=1e-5)
    assert not torch.allclose(inside[0, 1], before[0, 1], atol=1e-3)
