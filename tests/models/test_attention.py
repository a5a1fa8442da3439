from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers.models.llama.modeling_llama import eager_attention_forward

from rankrag.models import attention
from rankrag.models.attention import IN_SLICES, SLICE_TOKENS, in_slices, slice_attention
from rankrag.models.transformers import TransformersModel

from ..conftest import TINY_LLAMA, save_random


def tensors(rows, length, past, *, shared, heads=4, width=8, of_values=5):
    generator = torch.Generator().manual_seed(length + past)
    sizes = ((heads, length, width), (shared, past + length, width), (shared, past + length, of_values))
    query, key, value = (torch.randn(rows, *size, generator=generator) for size in sizes)
    hidden = torch.rand(rows, 1, length, past + length, generator=generator) < 0.3
    hidden |= torch.ones(length, past + length, dtype=torch.bool).triu(past + 1)
    hidden &= ~torch.eye(length, past + length, dtype=torch.bool).roll(past, dims=1)
    return query, key, value, torch.zeros(hidden.shape).masked_fill_(hidden, torch.finfo(torch.float32).min)


@pytest.mark.parametrize("length", [1, SLICE_TOKENS - 1, SLICE_TOKENS, 2 * SLICE_TOKENS + 5])
@pytest.mark.parametrize("past", [0, 9])
@pytest.mark.parametrize("shared", [1, 2, 4])
def test_slices_attend_as_whole_rows_do(length, past, shared):
    query, key, value, mask = tensors(3, length, past, shared=shared)
    groups = 4 // shared
    expected = nn.functional.scaled_dot_product_attention(
        query, key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1), attn_mask=mask, scale=0.3
    )
    found, weights = in_slices(nn.Module(), query, key, value, mask, scaling=0.3)
    assert weights is None
    assert found.shape == (3, length, 4, 5)
    assert torch.allclose(found, expected.transpose(1, 2), atol=1e-5)


def test_what_is_scaled_by_default_is_scaled_as_torch_does():
    query, key, value, mask = tensors(1, 7, 2, shared=4)
    expected = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    assert torch.allclose(in_slices(nn.Module(), query, key, value, mask)[0], expected.transpose(1, 2), atol=1e-5)


@pytest.mark.parametrize("length", [3, 2 * SLICE_TOKENS + 5])
def test_in_sixteen_bits_scores_are_rounded_as_eager_attention_rounds_them(length):
    query, key, value, mask = (part.bfloat16() for part in tensors(2, length, 9, shared=2))
    whole = in_slices(nn.Module(), query.float(), key.float(), value.float(), mask.float(), scaling=0.3)[0]
    module = nn.Module()
    module.num_key_value_groups = 2
    eager, _ = eager_attention_forward(module, query, key, value, mask, scaling=0.3)
    found, _ = in_slices(module, query, key, value, mask, scaling=0.3)
    assert found.dtype == torch.bfloat16
    apart, of_eager = ((some.float() - whole).abs().mean() for some in (found, eager))
    assert 0 < apart < 1.5 * of_eager


def test_a_slice_multiplies_nothing_that_is_behind_it():
    query, key, value, mask = tensors(1, 2 * SLICE_TOKENS, 0, shared=4)
    value[:, :, SLICE_TOKENS:] = torch.nan  # shares of 0 would not save a product with these
    found, _ = in_slices(nn.Module(), query, key, value, mask)
    assert not found[:, :SLICE_TOKENS].isnan().any()
    assert found[:, SLICE_TOKENS:].isnan().all()


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("none", {}),
        ("of truths", {}),
        ("of numbers", {"position_bias": torch.zeros(1)}),
        ("of numbers", {"softcap": 30.0}),
        ("of numbers", {"s_aux": torch.zeros(1)}),
        ("of numbers", {"is_causal": False}),
    ],
)
def test_other_masks_and_what_changes_scores_are_torch_s_own(kind, more, monkeypatch):
    query, key, value, mask = tensors(1, 6, 0, shared=4)
    seen = []

    def sdpa(_module, *arguments, **options):
        seen.append((arguments[3], options))
        return "attended", None

    monkeypatch.setattr(attention, "sdpa_attention_forward", sdpa)
    given = {"none": None, "of truths": mask == 0, "of numbers": mask}[kind]
    assert in_slices(nn.Module(), query, key, value, given, **more) == ("attended", None)
    assert seen == [(given, more)]


def test_a_model_on_a_cpu_attends_in_slices_unless_it_attends_in_a_way_of_its_own(tokenizer, tmp_path):
    def opened(kind, **sizes):
        return TransformersModel(save_random(kind, tokenizer, tmp_path / kind, **sizes), device="cpu").model

    assert opened("llama", **TINY_LLAMA).config._attn_implementation == IN_SLICES
    gemma = opened("gemma2", **TINY_LLAMA, head_dim=16)  # caps its scores
    assert gemma.config._attn_implementation == "eager"


def test_a_model_that_asks_for_torch_s_function_by_name_is_left_alone(tiny_model_dir):
    model = TransformersModel(tiny_model_dir, device="cpu").model
    model.set_attn_implementation("sdpa")
    model.config.num_kv_shared_layers = 1  # Gemma 4's
    slice_attention(model)
    assert model.config._attn_implementation == "sdpa"
    model.config.num_kv_shared_layers = 0
    slice_attention(model)
    assert model.config._attn_implementation == IN_SLICES
