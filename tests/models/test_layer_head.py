from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rankrag.contract import Contract, LayerHead
from rankrag.errors import ContractError, ModelError
from rankrag.models.layer_head import layers_of, shortened, watched
from rankrag.models.state_cache import StateCache
from rankrag.models.transformers import TransformersModel
from rankrag.parity import reference_ids
from rankrag.rerank import judge
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Question

from ..conftest import TINY_LLAMA, save_random

DEEP = TINY_LLAMA | {"num_hidden_layers": 3}
ARCHITECTURES = {
    "llama": DEEP,
    "qwen2": DEEP,
    "qwen3": DEEP | {"head_dim": 16},
    "mistral": DEEP | {"head_dim": 16},
    "gpt2": {"n_embd": 64, "n_layer": 3, "n_head": 4, "n_positions": 1024, "initializer_range": 0.3},
}
LAYER = 2


def head_of(layer=LAYER, width=64):
    drawn = np.random.default_rng(0).normal(0, 0.3, width).astype(np.float32)
    return LayerHead(layer, tuple(drawn.tolist()), -0.5)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def model(request, tokenizer, tmp_path_factory):
    directory = save_random(
        request.param, tokenizer, tmp_path_factory.mktemp(request.param), **ARCHITECTURES[request.param]
    )
    opened = TransformersModel(directory, device="cpu", dtype="float32")
    opened.contract = replace(opened.contract, score="layer_head", head=head_of())
    return opened


def pairs(count=5):
    """Pairs with passages that two questions share, so that prefixes are shared too."""
    return [
        (Question(f"q{i}", f"why {i}?"), Passage(str(j), f"word {j} " * (9 * j % 20 + 1)))
        for j in range(count)
        for i in range(2)
    ]


def prompts_of(model):
    return model.encode([ranking_prompt(model.contract.format, question, passage) for question, passage in pairs()])


def slow_states(model, prompts, layer):
    """One prompt at a time, all layers, no padding, no cache."""
    rows = []
    for prompt in prompts:
        ids = reference_ids(model.tokenizer, model.contract, prompt.prompt)
        with torch.no_grad():
            found = model.model(torch.tensor([ids]), output_hidden_states=True).hidden_states[layer]
        rows.append(found[0, -1].double())
    states = torch.stack(rows)
    return states / states.square().mean(-1, keepdim=True).sqrt()


def test_log_odds_equal_the_slow_obvious_ones(model):
    head = model.contract.head
    expected = slow_states(model, prompts_of(model), LAYER) @ torch.tensor(head.weight).double() + head.bias
    assert max(expected) - min(expected) > 0.5
    assert model.head_log_odds(prompts_of(model)) == pytest.approx(expected.tolist(), abs=1e-4)


def test_states_of_the_whole_model_and_of_its_first_layers_are_kept_apart(model):
    prompts = prompts_of(model)
    by_head, by_labels = model.head_log_odds(prompts), model.choice_logprobs(prompts, model.contract.labels)
    model.states = StateCache()
    try:
        for _ in range(2):
            assert model.head_log_odds(prompts) == pytest.approx(by_head, abs=1e-4)
            again = model.choice_logprobs(prompts, model.contract.labels)
            assert again == [pytest.approx(row, abs=1e-4) for row in by_labels]
        assert model.states.found > 0
    finally:
        model.states = None


def test_padded_batches_give_the_same(model, monkeypatch):
    shared = model.head_log_odds(prompts_of(model))
    monkeypatch.setattr(TransformersModel, "can_share", lambda *_: False)
    assert model.head_log_odds(prompts_of(model)) == pytest.approx(shared, abs=1e-4)


def test_later_layers_are_not_computed(model):
    computed = set()
    layers = layers_of(model.model)
    hooks = [layer.register_forward_hook(lambda of, *_: computed.add(of)) for layer in layers]
    model.head_log_odds(prompts_of(model))
    for hook in hooks:
        hook.remove()
    assert computed == set(layers[:LAYER])


def test_the_whole_model_is_left_as_it_was(model):
    before = model.choice_logprobs(prompts_of(model), model.contract.labels)
    short = shortened(model.model, head_of(1))
    assert len(layers_of(short)) == 1
    assert len(layers_of(model.model)) == 3
    assert {p.data_ptr() for p in short.base_model.parameters()} <= {p.data_ptr() for p in model.model.parameters()}
    assert model.choice_logprobs(prompts_of(model), model.contract.labels) == before


def test_states_of_all_layers_come_with_the_labels_scores(model):
    rows, states = model.layer_states(prompts_of(model), [1, 2])
    assert rows == model.choice_logprobs(prompts_of(model), model.contract.labels)
    for number, layer in enumerate([1, 2]):
        assert states[:, number] == pytest.approx(slow_states(model, prompts_of(model), layer).numpy(), abs=2e-2)


def test_watching_ends(model):
    with watched(model.model, [1]) as seen:
        pass
    model.choice_logprobs(prompts_of(model), model.contract.labels)
    assert seen == {}


def test_judging_uses_the_score_of_the_contract(model):
    by_head = [j.log_odds for j in judge(model, pairs())]
    by_labels = [j.log_odds for j in judge(model, pairs(), score="true_vs_false")]
    assert by_head == model.head_log_odds(prompts_of(model))
    assert by_labels == [t - f for t, f in model.choice_logprobs(prompts_of(model), model.contract.labels)]


@pytest.mark.parametrize("head", [head_of(4), head_of(width=32)])
def test_a_head_of_another_model_is_refused(tiny_model_dir, head):
    with pytest.raises(ContractError, match="the head is another model's"):
        TransformersModel(tiny_model_dir, device="cpu", contract=Contract(score="layer_head", head=head))


def test_an_architecture_that_rescales_its_logits_is_refused(tiny_model_dir):
    model = TransformersModel(tiny_model_dir, device="cpu", dtype="float32")
    model.model.config.final_logit_softcapping = 30.0
    with pytest.raises(ModelError, match="final_logit_softcapping changes logits"):
        shortened(model.model, head_of(1))
