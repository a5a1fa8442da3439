"""A model in shards, of a single process: `test_processes` has two."""

from __future__ import annotations

import shutil

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from rankrag.training.batches import to_batch
from rankrag.training.loss import RowModel
from rankrag.training.run import train
from rankrag.training.shards import is_first, load_shards, save_shards, shard, whole_weights, without_weights


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """A group of this process alone."""
    monkeypatch.setenv("WORLD_SIZE", "1")
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.fixture
def sharded(alone, tiny_model_dir):
    """Make the tiny model in shards, and return its whole weights with it."""
    weights = AutoModelForCausalLM.from_pretrained(tiny_model_dir).state_dict()

    def make():
        model = RowModel(without_weights(AutoConfig.from_pretrained(tiny_model_dir), compiled=False))
        assert {p.device.type for p in model.parameters()} == {"meta"}
        whole = {f"causal.{name}": weight.clone() for name, weight in weights.items()}
        return shard(model, whole, torch.device("cpu"), bf16=False), weights

    return make


def learn(model, optimizer, rows_of, mixed):
    rows = rows_of(mixed)
    model(to_batch([rows], sum(map(len, rows)), 0)).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def test_the_whole_weights_of_a_model_in_shards_are_those_it_was_given(sharded):
    model, weights = sharded()
    found = whole_weights(model)
    assert is_first()
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)


def test_saved_shards_bring_back_weights_and_optimiser(sharded, tmp_path, rows_of, mixed):
    (first, _), (second, _) = sharded(), sharded()
    optimizers = [torch.optim.AdamW(model.parameters(), lr=0.01) for model in (first, second)]
    learn(first, optimizers[0], rows_of, mixed)
    save_shards(first, optimizers[0], tmp_path / "shards")
    load_shards(second, optimizers[1], tmp_path / "shards")
    for model, optimizer in zip((first, second), optimizers, strict=True):
        learn(model, optimizer, rows_of, mixed)
    before, after = whole_weights(first), whole_weights(second)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_run_in_shards_is_stopped_goes_on_and_learns_what_a_plain_run_does(alone, tmp_path, config_of, mixed):
    settings = {"method": "full", "learning_rate": 0.001, "max_steps": 4, "save_steps": 2, "examples": mixed}
    plain = train(config_of(out=str(tmp_path / "plain"), **settings))
    config = config_of(sharding="fsdp2", **settings)
    train(config)
    shutil.rmtree(tmp_path / "run/checkpoint-4")
    done = []
    found = train(config, report=lambda step, _: done.append(step))
    assert done == [3, 4]
    before, after = (load_file(folder / "model.safetensors") for folder in (plain, found))
    assert before.keys() == after.keys()
    assert all(torch.allclose(before[name].float(), after[name].float(), atol=1e-2) for name in before)
