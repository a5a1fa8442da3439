from __future__ import annotations

import pytest
import torch

from rankrag.models.label_logits import last_tokens_only
from rankrag.models.loading import layers_of
from rankrag.models.transformers import TransformersModel
from rankrag.rerank import judge
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Question

from ..conftest import TINY_LLAMA, save_random

LOUD = {"initializer_range": 0.5}


def opened(kind, tokenizer, directory):
    return TransformersModel(
        save_random(kind, tokenizer, directory, **TINY_LLAMA | LOUD), device="cpu", dtype="bfloat16"
    )


def prompts_of(model):
    passages = [Passage(str(j), f"word {j} " * (9 * j % 20 + 1)) for j in range(6)]
    return model.encode([ranking_prompt(model.contract.format, Question("q", "why?"), passage) for passage in passages])


@torch.inference_mode()
def by_hand(model, prompts, *, exact):
    """Log-odds of prompts that are read alone, with the head's product in float32 or as the model has it."""
    labels = list(model.contract.label_ids)
    odds = []
    for one in prompts:
        out = model.model(torch.tensor([one.ids]), output_hidden_states=True)
        states = out.hidden_states[-1][0, -1].float()
        weight = model.model.get_output_embeddings().weight[labels].float()
        true, false = (weight @ states if exact else out.logits[0, -1, labels].float()).tolist()
        odds.append(true - false)
    return torch.tensor(odds)


def odds_of(model, prompts, path):
    labels = list(model.contract.label_ids)
    found = [getattr(model, path)([one], labels) for one in prompts]
    return torch.tensor([true - false for ((_, (true, false)),) in found])


@pytest.mark.parametrize("path", ["shared_logprobs", "plain_logprobs"])
def test_labels_are_not_rounded_by_a_16_bit_head(path, tokenizer, tmp_path):
    model = opened("llama", tokenizer, tmp_path)
    model.model.set_attn_implementation("sdpa")  # which rounds alike with a mask and without
    prompts = prompts_of(model)
    exact, rounded = (by_hand(model, prompts, exact=which) for which in (True, False))
    found = odds_of(model, prompts, path)
    assert (exact - rounded).abs().max() > 0.01
    assert (found - exact).abs().max() < (exact - rounded).abs().max() / 10


def test_logits_that_a_model_changes_behind_its_head_stay_its_own(tokenizer, tmp_path):
    model = opened("gemma2", tokenizer, tmp_path)
    assert model.model.config.final_logit_softcapping == 30.0
    prompts = prompts_of(model)
    assert torch.equal(odds_of(model, prompts, "plain_logprobs"), by_hand(model, prompts, exact=False))


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
    monkeypatch.setattr("rankrag.models.label_logits._FEED_FORWARD", ())
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
