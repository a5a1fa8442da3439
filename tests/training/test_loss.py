from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch.nn.functional import cross_entropy

from rankrag.training import attention
from rankrag.training import loss as loss_module
from rankrag.training.batches import attention_mask, to_batch
from rankrag.training.loss import RowModel, batch_loss


def tiny(family, vocabulary, attention="sdpa", **settings):
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    if family == "gpt2":
        sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4, "resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0}
    else:
        sizes["num_key_value_heads"] = 2
    ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    config = AutoConfig.for_model(family, vocab_size=vocabulary, initializer_range=0.2, **sizes, **ends, **settings)
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention).double()


def packed(model, rows, fault=lambda batch: batch):
    """Loss and gradients with all examples in shared-prefix rows of one sequence, and some padding."""
    batch = fault(to_batch([rows], sum(map(len, rows)) + 5, 0))
    model.zero_grad()
    total, _ = batch_loss(RowModel(model)(batch), batch)
    total.backward()
    return total.item(), gradients(model)


def alone(model, rows):
    """The same, the obvious way: one forward pass an example, the model's own causal mask and positions."""
    model.zero_grad()
    model.set_attn_implementation("eager")
    total = torch.zeros((), dtype=torch.float64)
    for row in rows:
        for tail in row.tails:
            ids = torch.tensor([[*row.prefix, *tail.ids, *tail.target]])
            logits = model(input_ids=ids).logits[0, -len(tail.target) - 1 : -1].float()
            total = total + tail.weight * cross_entropy(logits, torch.tensor(tail.target), reduction="sum")
    total.backward()
    return total.item(), gradients(model)


def gradients(model):
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def apart(model, rows, **fault):
    (loss, grads), (expected, expected_grads) = packed(model, rows, **fault), alone(model, rows)
    return abs(loss - expected) / expected, float((grads - expected_grads).norm() / expected_grads.norm())


@pytest.fixture(scope="module")
def rows(rows_of, mixed):
    return rows_of(mixed)


@pytest.fixture(params=["sdpa", attention.IN_PIECES])
def attending(request, monkeypatch):
    monkeypatch.setattr(attention, "PIECE_TOKENS", 24)  # cuts the prefixes of these rows, and their tails
    return request.param


@pytest.mark.parametrize("family", ["llama", "qwen2", "mistral", "gpt2"])
def test_shared_prefix_rows_give_the_loss_and_gradients_of_separate_rows(family, attending, rows, tokenizer):
    assert max(apart(tiny(family, len(tokenizer), attending), rows)) < 1e-5


RESCALED = {
    "granite": {"logits_scaling": 4.0},
    "hyperclovax": {"logits_scaling": 0.25},
    "cohere": {"logit_scale": 0.0625},
    "gemma2": {
        "final_logit_softcapping": 2.0,
        "attn_logit_softcapping": 3.0,
        "query_pre_attn_scalar": 1,
        "head_dim": 8,
    },
}


@pytest.mark.parametrize("family", RESCALED)
def test_what_a_model_does_behind_its_head_and_to_its_scores_is_part_of_the_loss(family, rows, tokenizer, monkeypatch):
    monkeypatch.setattr(attention, "PIECE_TOKENS", 24)
    assert max(apart(tiny(family, len(tokenizer), attention.IN_PIECES, **RESCALED[family]), rows)) < 1e-5


@pytest.mark.parametrize("family", ["mistral", "gemma3_text"])
def test_a_window_as_long_as_the_longest_example_changes_nothing_and_a_shorter_one_does(family, rows, tokenizer):
    longest = max(len(row.prefix) + len(tail.ids) + len(tail.target) for row in rows for tail in row.tails)
    heads = {"head_dim": 8} if family == "gemma3_text" else {}
    settings = {"max_position_embeddings": 4096} | heads
    assert sum(map(len, rows)) > longest  # the row itself is longer: its tails are beside each other
    assert max(apart(tiny(family, len(tokenizer), sliding_window=longest, **settings), rows)) < 1e-5
    assert min(apart(tiny(family, len(tokenizer), sliding_window=longest // 2, **settings), rows)) > 1e-4


def leak_between_tails(_name, batch, dtype):
    return attention_mask(dataclasses.replace(batch, tail=torch.zeros_like(batch.tail)), dtype)


def leak_between_rows(_name, batch, dtype):
    return attention_mask(dataclasses.replace(batch, member=batch.member.clamp_max(0)), dtype)


@pytest.mark.parametrize("leak", [leak_between_tails, leak_between_rows])
def test_a_leaking_mask_is_found(leak, rows, tokenizer, monkeypatch):
    monkeypatch.setattr(loss_module, "mask_for", leak)
    assert min(apart(tiny("llama", len(tokenizer)), rows)) > 1e-3


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_shifted_positions_are_found(family, rows, tokenizer):
    def shift(batch):
        return dataclasses.replace(batch, positions=torch.arange(batch.positions.shape[1])[None])

    assert min(apart(tiny(family, len(tokenizer)), rows, fault=shift)) > 1e-3


def test_each_token_counts_with_its_weight_and_prompts_not_at_all(rows):
    batch = to_batch([rows], sum(map(len, rows)), 0)
    targets = [(token, tail.weight) for row in rows for tail in row.tails for token in tail.target]
    uniform = torch.zeros(len(targets), 50)
    batch = dataclasses.replace(batch, labels=batch.labels.clamp_max(49))
    total, losses = batch_loss(uniform, batch)
    assert total.item() == pytest.approx(math.log(50) * sum(weight for _, weight in targets), rel=1e-6)
    assert losses.tolist() == pytest.approx([math.log(50)] * len(targets))
