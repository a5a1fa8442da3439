from __future__ import annotations

import pytest
import torch

from rankrag.models.transformers import TransformersModel
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


def odds_of(model, prompts, *, sharing):
    labels = list(model.contract.label_ids)
    found = [model.next_logprobs([one], labels, sharing=sharing) for one in prompts]
    return torch.tensor([true - false for ((true, false),) in found])


@pytest.mark.parametrize("sharing", [True, False])
def test_labels_are_not_rounded_by_a_16_bit_head(sharing, tokenizer, tmp_path):
    model = opened("llama", tokenizer, tmp_path)
    model.model.set_attn_implementation("sdpa")  # which rounds alike with a mask and without
    prompts = prompts_of(model)
    exact, rounded = (by_hand(model, prompts, exact=which) for which in (True, False))
    found = odds_of(model, prompts, sharing=sharing)
    assert (exact - rounded).abs().max() > 0.01
    assert (found - exact).abs().max() < (exact - rounded).abs().max() / 10


def test_logits_that_a_model_changes_behind_its_head_stay_its_own(tokenizer, tmp_path):
    model = opened("gemma2", tokenizer, tmp_path)
    assert model.model.config.final_logit_softcapping == 30.0
    prompts = prompts_of(model)
    assert torch.equal(odds_of(model, prompts, sharing=False), by_hand(model, prompts, exact=False))
