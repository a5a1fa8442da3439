from __future__ import annotations

import copy
import weakref

import pytest
import torch
from torch import nn

from rankrag.data.runs import read_candidates
from rankrag.errors import ModelError
from rankrag.evaluation.model_key import model_key
from rankrag.models import SamplingParams
from rankrag.models.fake import FakeLanguageModel
from rankrag.models.int8 import BLOCK, Int8Linear, put_in_int8
from rankrag.models.parallel import ParallelModel
from rankrag.models.state_cache import model_fingerprint
from rankrag.models.transformers import TransformersModel
from rankrag.parity import paths as parity_paths
from rankrag.parity.compare import PAIRS, compare
from rankrag.rerank import judge
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Question

from ..conftest import LONG_LLAMA, save_random

PAIRS_OF_TWO = [(Question("q", f"why {i % 2}?"), Passage(str(i), f"word {i} " * (i + 1))) for i in range(6)]


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    return save_random("llama", tokenizer, tmp_path_factory.mktemp("llama"), head=2.0, **LONG_LLAMA)


def layer(columns, rows=5, *, bias=True, dtype=torch.float32):
    torch.manual_seed(columns)
    return nn.Linear(columns, rows, bias=bias, dtype=dtype)


@pytest.mark.parametrize("columns", [BLOCK, 3 * BLOCK, BLOCK + 1])
@pytest.mark.parametrize("bias", [True, False])
def test_a_weight_is_within_half_a_step_of_its_scale(columns, bias):
    whole = layer(columns, bias=bias)
    kept = Int8Linear(whole)
    assert (kept.numbers.dtype, kept.weight.dtype) == (torch.int8, whole.weight.dtype)
    assert (kept.in_features, kept.out_features) == (columns, 5)
    steps = kept.scales.repeat_interleave(kept.numbers.shape[-1], dim=-1).flatten(1)
    again = kept.weight
    assert ((again - whole.weight).abs() <= 0.5001 * steps).all()
    inputs = torch.randn(2, 3, columns)
    assert torch.allclose(kept(inputs), nn.functional.linear(inputs, again, whole.bias))


def test_a_block_has_a_scale_of_its_own_and_one_of_zeros_stays_zero():
    whole = layer(2 * BLOCK)
    with torch.no_grad():
        whole.weight[:, :BLOCK] *= 1000
        whole.weight[0, BLOCK:] = 0
    kept = Int8Linear(whole)
    again = kept.weight
    assert (again - whole.weight)[:, BLOCK:].abs().max() < 1e-3
    assert again[0, BLOCK:].eq(0).all()


def test_weights_take_half_the_memory_of_sixteen_bits(folder):
    model = TransformersModel(folder, device="cpu", dtype="bfloat16").model

    def size():
        return sum(t.nbytes for name, t in model.state_dict().items() if ".layers." in name)

    before, count = size(), put_in_int8(model)
    assert count == 7 * len(model.model.layers)
    assert size() < 0.55 * before
    assert put_in_int8(model) == 0
    assert model.dtype == torch.bfloat16


def test_one_layer_at_a_time_exists_twice(folder, monkeypatch):
    model = TransformersModel(folder, device="cpu", dtype="bfloat16").model
    whole = [weakref.ref(part) for part in model.modules() if type(part) is nn.Linear]
    alive = []
    made = Int8Linear.__init__

    def counted(self, linear):
        alive.append(sum(part() is not None for part in whole))
        made(self, linear)

    monkeypatch.setattr(Int8Linear, "__init__", counted)
    put_in_int8(model)
    assert alive == list(range(len(whole), 1, -1))  # the head stays


def test_a_layer_of_a_class_of_its_own_stays_as_it_is(folder):
    class Router(nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs), None

    model = TransformersModel(folder, device="cpu", dtype="bfloat16").model
    model.model.layers[0].mlp.router = router = Router(4, 4)
    put_in_int8(model)
    assert model.model.layers[0].mlp.router is router


def test_replies_come_from_the_same_weights_and_a_disk_keeps_states_apart(folder):
    whole = TransformersModel(folder, device="cpu", dtype="float32")
    kept = TransformersModel(folder, device="cpu", dtype="int8")
    (prompt,) = kept.encode([ranking_prompt(kept.contract.format, *PAIRS_OF_TWO[0])])
    params = SamplingParams(max_new_tokens=4)
    assert kept.generate([prompt], params) == ["".join(kept.stream(prompt, params)).strip()]
    owners = {model_fingerprint(of.model, of.model.config.to_dict()) for of in (whole, kept)}
    assert len(owners) == 2


def test_all_paths_agree_in_eight_bits_and_a_score_has_no_neighbours(folder):
    model = TransformersModel(folder, device="cpu", dtype="float32")
    model.in_int8 = put_in_int8(model.model) > 0
    found = compare(model, [(question, ranking[:2]) for question, ranking in read_candidates(PAIRS)][:3])
    assert found.holds
    assert found.tolerance == 1e-4


def test_scores_move_less_than_they_differ(folder):
    model = TransformersModel(folder, device="cpu", dtype="float32")
    before = [j.log_odds for j in judge(model, PAIRS_OF_TWO)]
    put_in_int8(model.model)
    after = [j.log_odds for j in judge(model, PAIRS_OF_TWO)]
    apart = [abs(x - y) for x, y in zip(before, after, strict=True)]
    assert 0 < max(apart) < (max(before) - min(before)) / 4


def test_it_is_a_number_type_with_journals_of_its_own(folder):
    whole = TransformersModel(folder, device="cpu", dtype="float32")
    kept = TransformersModel(folder, device="cpu", dtype="int8")
    assert (whole.in_int8, kept.in_int8) == (False, True)
    assert any(isinstance(part, Int8Linear) for part in kept.model.modules())
    assert ParallelModel([copy.copy(kept)]).info.int8
    assert not FakeLanguageModel().info.int8
    assert model_key(whole, str(folder)) != model_key(kept, str(folder))


def test_the_angles_of_positions_are_as_exact_as_in_sixteen_bits(folder):
    for dtype in ("int8", "bfloat16", "float32"):
        model = TransformersModel(folder, device="cpu", dtype=dtype).model
        assert model.model.rotary_emb.inv_freq.dtype == torch.float32
    half = parity_paths.bfloat16(TransformersModel(folder, device="cpu", dtype="float32")).model
    assert (half.dtype, half.model.rotary_emb.inv_freq.dtype) == (torch.bfloat16, torch.float32)


def test_a_model_without_linear_layers_is_refused(tokenizer, tmp_path):
    sizes = {"n_embd": 32, "n_layer": 1, "n_head": 2, "n_positions": 512}
    with pytest.raises(ModelError, match="no linear layers to keep in eight bits; take float32 or bfloat16"):
        TransformersModel(save_random("gpt2", tokenizer, tmp_path, **sizes), device="cpu", dtype="int8")
