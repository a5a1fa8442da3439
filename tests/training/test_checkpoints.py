from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rankrag.data.examples import write_examples
from rankrag.training.checkpoints import all_checkpoints, newest_checkpoint, prune, publish
from rankrag.training.run import train

SOURCE = Path(__file__).parents[2] / "src"
KILLED = """
import json, os, signal, sys
import rankrag.training.trainer as trainer
from rankrag.config.training import TrainConfig
from rankrag.training import folder
from rankrag.training.run import train

folder.draw = lambda *_: False
publish = trainer.publish
def stop(partial, final):  # power goes while the second checkpoint is being written
    os.kill(os.getpid(), signal.SIGKILL) if final.name == "checkpoint-6" else publish(partial, final)
trainer.publish = stop
train(TrainConfig.model_validate(json.loads(sys.argv[1])))
"""


def written(out, step, text="weights"):
    partial = out / f"partial-{step}"
    partial.mkdir(parents=True)
    (partial / "weights").write_text(text)
    publish(partial, out / f"checkpoint-{step}")


def test_the_newest_whole_checkpoint_is_found_and_damaged_ones_are_passed_over(tmp_path, caplog):
    for step in (5, 10, 20, 30):
        written(tmp_path, step)
    (tmp_path / "checkpoint-30/weights").write_text("wei")
    (tmp_path / "checkpoint-20/complete.json").unlink()
    assert newest_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert "checkpoint-30 is not whole" in caplog.text


def test_a_folder_without_checkpoints_has_none(tmp_path):
    assert newest_checkpoint(tmp_path / "absent") is None


def test_pruning_keeps_the_newest_by_number_of_steps(tmp_path):
    for step in (5, 20, 10, 100):
        written(tmp_path, step)
    prune(tmp_path, 2)
    assert [path.name for path in all_checkpoints(tmp_path)] == ["checkpoint-20", "checkpoint-100"]


@pytest.mark.slow
def test_a_run_that_was_killed_ends_with_the_same_weights_bit_for_bit(tmp_path, config_of, mixed):
    write_examples(tmp_path / "dev.jsonl.zst", mixed)
    lora = {"r": 4, "alpha": 8, "dropout": 0.1}
    dev = {"examples": str(tmp_path / "dev.jsonl.zst"), "steps": 1}
    settings = {"lora": lora, "schedule": "cosine", "batches_per_step": 2, "dev": dev}
    train(config_of(out=str(tmp_path / "whole"), **settings))
    config = config_of(**settings)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, json.dumps(config.model_dump(mode="json"))],
        env=os.environ | {"PYTHONPATH": str(SOURCE)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [path.name for path in all_checkpoints(tmp_path / "run")] == ["checkpoint-3"]
    assert (tmp_path / "run/partial").is_dir()
    seen = []
    train(config, report=lambda done, _: seen.append(done))
    assert seen == [4, 5, 6]
    for name in ("trained.safetensors", "optimizer.pt"):
        whole, resumed = (tmp_path / out / "checkpoint-6" / name for out in ("whole", "run"))
        assert whole.read_bytes() == resumed.read_bytes()
    measured = [
        [entry for entry in json.loads((tmp_path / out / "log.json").read_text()) if "dev_auc" in entry]
        for out in ("whole", "run")
    ]
    assert measured[0] == measured[1]
    assert [entry["step"] for entry in measured[0]] == list(range(7))
