"""Short weights change how a reply is written, on CPUs that are faster with them, and never a score."""

from __future__ import annotations

import threading

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn
from transformers import AutoModelForCausalLM

from rankrag.models import SamplingParams, short_weights
from rankrag.models.short_weights import (
    ALIGNED,
    FILE,
    ShortLinear,
    is_faster,
    short_writing,
    shortened,
    use_short_weights,
    write_short_weights,
)
from rankrag.models.transformers import COPIED, COPIED_SHORT, TransformersModel
from rankrag.templates import answer_prompt, ranking_prompt
from rankrag.types import Passage, Question

CPU = torch.device("cpu")
pytestmark = pytest.mark.skipif(not is_faster(CPU, torch.bfloat16), reason="a CPU with AVX-512")

LABELS = ["True", "False"]


def on_a_grid(rows, columns, *, uses=15):
    """Weights of 4 bits in groups of 32, each with its own scale and zero; codes go from 0 to `uses`."""
    codes = torch.randint(0, uses + 1, (rows, columns // 32, 32))
    codes[..., 0], codes[..., 1] = 0, uses
    scale = torch.rand(rows, columns // 32, 1) * 0.01 + 0.001
    return (codes * scale - 7 * scale).view(rows, columns).bfloat16()


def short(weight, bias=None):
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    linear.weight = nn.Parameter(weight)
    linear.bias = None if bias is None else nn.Parameter(bias)
    linear.__class__ = ShortLinear
    linear.shorten(*shortened(weight))
    return linear


def apart(one, other):
    one, other = one.detach().float(), other.detach().float()
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("uses", [15, 12])
def test_weights_on_a_grid_of_four_bits_are_kept_in_four(uses):
    weight = on_a_grid(64, 128, uses=uses)
    linear = short(weight)
    assert linear.short.nbytes == weight.numel() / 2
    states = torch.randn(3, 128).bfloat16()
    with short_writing():
        assert apart(linear(states), nn.functional.linear(states, weight)) < 0.01


def test_other_weights_are_kept_in_eight_bits():
    weight = torch.randn(64, 128).bfloat16()
    linear = short(weight)
    assert linear.short.dtype == torch.int8
    states = torch.randn(3, 128).bfloat16()
    with short_writing():
        assert 0 < apart(linear(states), nn.functional.linear(states, weight)) < 0.02


def test_what_an_adapter_adds_is_not_rounded_to_the_grid_of_its_base():
    base = on_a_grid(64, 128)
    added = torch.randn(64, 8) @ torch.randn(8, 128)
    merged = (base + 0.015 * base.float().norm() / added.norm() * added).bfloat16()
    linear = short(merged)
    assert linear.short.dtype == torch.int8
    kept = linear.short.float() * linear.scales.float()[:, None]
    assert apart(kept, merged) < 0.01


def test_a_row_of_zeros_stays_zero():
    weight = torch.randn(32, 64).bfloat16()
    weight[3] = 0
    with short_writing():
        assert short(weight)(torch.randn(2, 64).bfloat16())[:, 3].abs().max() < 1e-6


def test_shape_and_bias_are_those_of_the_layer():
    weight, bias = on_a_grid(48, 64), torch.randn(48).bfloat16()
    states = torch.randn(2, 1, 64).bfloat16()
    with short_writing():
        found = short(weight, bias)(states)
    assert found.shape == (2, 1, 48)
    assert apart(found, nn.functional.linear(states, weight, bias)) < 0.01


def test_only_few_tokens_while_writing_use_them():
    linear = short(torch.randn(32, 64).bfloat16())
    few, many = torch.randn(4, 64).bfloat16(), torch.randn(5, 64).bfloat16()
    exact = nn.functional.linear(few, linear.weight), nn.functional.linear(many, linear.weight)
    assert torch.equal(linear(few), exact[0])
    elsewhere = []
    with short_writing():
        assert torch.equal(linear(many), exact[1])
        assert not torch.equal(linear(few), exact[0])
        thread = threading.Thread(target=lambda: elsewhere.append(linear(few)))
        thread.start()
        thread.join()
    assert torch.equal(elsewhere[0], exact[0])
    assert torch.equal(linear(few), exact[0])


@pytest.fixture
def directory(tiny_model_dir, tmp_path):
    """A tiny model with short weights beside its own."""
    folder = tmp_path / "model"
    folder.mkdir()
    for path in tiny_model_dir.iterdir():
        (folder / path.name).symlink_to(path)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    write_short_weights(model, folder / FILE)
    return folder


def opened(directory, **options):
    return TransformersModel(directory, device="cpu", dtype="bfloat16", **options)


def test_a_model_with_the_file_scores_as_one_without(directory, tiny_model_dir):
    own, plain = opened(directory), opened(tiny_model_dir)
    assert sum(isinstance(module, ShortLinear) for module in own.model.modules()) > 1
    assert own.model.state_dict().keys() == plain.model.state_dict().keys()
    form, passage = own.contract.format, Passage("1", "The ferry leaves at noon.")
    prompts = own.encode([ranking_prompt(form, Question("q", "when?"), passage)])
    assert own.choice_logprobs(prompts, LABELS) == plain.choice_logprobs(prompts, LABELS)


def test_a_model_with_the_file_writes_with_it(directory, monkeypatch):
    used = []
    monkeypatch.setattr(
        ShortLinear, "forward", lambda self, x: used.append(short_weights._writing.get()) or nn.Linear.forward(self, x)
    )
    model = opened(directory)
    assert model._copied == COPIED_SHORT
    (prompt,) = model.encode([answer_prompt(model.contract.format, Question("q", "why?"), [Passage("1", "word " * 9)])])
    params = SamplingParams(max_new_tokens=5)
    assert "".join(model.stream(prompt, params)) == model.generate([prompt], params)[0]
    assert used
    assert all(used)


def test_it_can_be_turned_off(directory):
    model = opened(directory, short_writing=False)
    assert model._copied == COPIED
    assert not any(isinstance(module, ShortLinear) for module in model.model.modules())


@pytest.mark.parametrize("damage", [b"", b"short", None])
def test_a_file_that_cannot_be_used_is_left_alone(directory, monkeypatch, damage):
    if damage is None:
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512 of another kind")
    else:
        (directory / FILE).write_bytes(damage)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.bfloat16)
    assert not use_short_weights(model, directory / FILE)


def test_there_are_none_for_other_number_types_and_devices(directory):
    assert not use_short_weights(AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32), directory / FILE)
    assert not is_faster(torch.device("cuda"), torch.bfloat16)


@pytest.mark.parametrize("shift", range(0, 64, 8))
def test_weights_are_aligned_wherever_they_lie_in_their_file(tmp_path, shift):
    model = nn.Sequential(nn.Linear(128, 64, bias=False), nn.Linear(64, 64, bias=False)).to(torch.bfloat16)
    model.device, model.dtype = CPU, torch.bfloat16
    write_short_weights(model, tmp_path / FILE)
    with safe_open(tmp_path / FILE, "pt") as file:
        tensors, metadata = {name: file.get_tensor(name).clone() for name in file.keys()}, file.metadata()  # noqa: SIM118
    save_file(tensors, tmp_path / FILE, {**metadata, "shift": "x" * shift})
    assert use_short_weights(model, tmp_path / FILE)
    assert {part.data_ptr() % ALIGNED for layer in model for part in (layer.short, layer.scales)} == {0}
    with short_writing():
        assert torch.isfinite(model(torch.randn(4, 128).bfloat16())).all()
