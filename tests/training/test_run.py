from __future__ import annotations

import json

import pytest
import torch

from rankrag.config import TrainConfig
from rankrag.errors import ConfigError, ModelError
from rankrag.examples import write_examples
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


def test_a_run_goes_on_from_its_checkpoint_and_gives_an_adapter(tmp_path, tiny_model_dir):
    train(config_of(tmp_path, max_steps=3), tiny_model_dir)
    adapter = train(config_of(tmp_path), tiny_model_dir)
    assert json.loads((tmp_path / "run/checkpoint-6/trainer_state.json").read_text())["global_step"] == 6
    assert (adapter / "adapter_model.safetensors").is_file()
    assert (adapter / "rankrag_config.json").is_file()


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
