from __future__ import annotations

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from rankrag.config import TrainConfig
from rankrag.errors import ConfigError, ModelError
from rankrag.examples import write_examples
from rankrag.models.transformers import TransformersModel
from rankrag.rerank import judge
from rankrag.training.run import train
from rankrag.types import DataKind, Example, Passage, Question

# transformers 5.23 warns about its own attribute while it builds the Trainer
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def config_of(tmp_path, **fields):
    found = [
        Example(DataKind.CONTEXT_RANKING, "s", Question(str(i), "why?"), (Passage(str(i), f"word {i}"),), "True")
        for i in range(12)
    ]
    write_examples(tmp_path / "blend" / "examples.jsonl.zst", found)
    base = {"model": "tiny", "blend": str(tmp_path / "blend"), "out": str(tmp_path / "run"), "compile": False}
    steps = {"bf16": False, "warmup_steps": 0, "save_steps": 3, "max_steps": 6, "learning_rate": 0.01}
    return TrainConfig.model_validate(base | steps | fields)


def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(tmp_path, tiny_model_dir):
    whole = train(config_of(tmp_path, learning_rate=0.001, out=str(tmp_path / "whole")), tiny_model_dir)
    shutil.copytree(tmp_path / "whole/checkpoint-3", tmp_path / "run/checkpoint-3")
    resumed = train(config_of(tmp_path, learning_rate=0.001), tiny_model_dir)
    expected, found = (load_file(adapter / "adapter_model.safetensors") for adapter in (whole, resumed))
    assert expected.keys() == found.keys()
    apart = max(float((expected[name].float() - found[name].float()).abs().max()) for name in expected)
    moved = max(float(expected[name].abs().max()) for name in expected if "lora_B" in name)
    assert apart < moved / 20


def test_training_lowers_the_loss_and_the_adapter_opens_as_a_model_with_its_contract(tmp_path, tiny_model_dir):
    adapter = train(config_of(tmp_path, max_steps=20, model=str(tiny_model_dir)), tiny_model_dir)
    losses = [e["loss"] for e in json.loads((tmp_path / "run/log.json").read_text()) if "loss" in e]
    assert float(losses[-1]) < float(losses[0]) / 2
    model = TransformersModel(adapter, dtype="float32")
    (judged,) = judge(model, [(Question("q", "why?"), Passage("p", "word 1"))])
    assert judged.probability > 0.9
    assert model.contract.format.history_turns == 7


def test_a_run_can_start_from_another_adapter(tmp_path, tiny_model_dir):
    first = train(config_of(tmp_path), tiny_model_dir)
    out = str(tmp_path / "second")
    second = train(config_of(tmp_path, warm_start=str(first), out=out, max_steps=1, learning_rate=1e-9), tiny_model_dir)
    before, after = (load_file(adapter / "adapter_model.safetensors") for adapter in (first, second))
    assert all(torch.allclose(before[name], after[name], atol=1e-3) for name in before)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path, tiny_model_dir, monkeypatch):
    nan = (torch.full((1, 9), float("nan")), torch.tensor([1]), torch.ones(1), torch.tensor([0]))
    monkeypatch.setattr("rankrag.training.run.supervised", lambda *_: nan)
    with pytest.raises(ModelError, match="step 0: loss is nan"):
        train(config_of(tmp_path), tiny_model_dir)


def test_an_empty_blend_is_refused(tmp_path, tiny_model_dir):
    config = config_of(tmp_path)
    write_examples(tmp_path / "blend" / "examples.jsonl.zst", [])
    with pytest.raises(ConfigError, match="no examples"):
        train(config, tiny_model_dir)
