"""Runs over two real processes, as torchrun starts them on a machine without GPUs."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from safetensors.torch import load_file

from rankrag.config.training import TrainConfig
from rankrag.data.examples import write_examples
from rankrag.training.run import train
from tests.acceptance.conftest import ROOT

pytestmark = pytest.mark.acceptance

WORKER = """
import json, os, shutil, sys
from pathlib import Path
import torch
from torch.distributed.tensor import DTensor
from rankrag.config.training import TrainConfig
from rankrag.training.run import train
from rankrag.training.trainer import RowTrainer

folder = Path(sys.argv[1])
step = RowTrainer.training_step
def spy(self, model, *rest):
    found = [p.to_local() if isinstance(p, DTensor) else p for p in model.parameters()]
    held, whole = sum(p.numel() for p in found), sum(p.numel() for p in model.parameters())
    seen = {"class": type(model).__name__, "held": held, "whole": whole, "world": self.args.world_size}
    (folder / f"{Path(self.args.output_dir).name}-{os.environ['RANK']}.json").write_text(json.dumps(seen))
    return step(self, model, *rest)
RowTrainer.training_step = spy
whole, sharded = (TrainConfig.model_validate(json.loads(settings)) for settings in sys.argv[2:])
train(whole)
train(sharded)
torch.distributed.barrier()
if os.environ["RANK"] == "0":  # as if it had been stopped after its first checkpoint
    shutil.copy(folder / "shards/log.json", folder / "uninterrupted.json")
    shutil.rmtree(folder / "shards/checkpoint-4")
torch.distributed.barrier()
train(sharded)
torch.distributed.destroy_process_group()
"""

SETTINGS = {"method": "full", "learning_rate": 0.001, "examples_per_step": 5, "log_steps": 1, "max_steps": 4}


@pytest.fixture(scope="module")
def runs(tmp_path_factory, tiny_model_dir, mixed):
    """The folder of three runs: `one` in this process, `copies` and `shards` in two processes each."""
    folder = tmp_path_factory.mktemp("runs")
    write_examples(folder / "blend/examples.jsonl.zst", mixed)
    places = {"model": str(tiny_model_dir), "blend": str(folder / "blend")}
    limits = {"max_tokens": 512, "tokens_per_batch": 768, "compile": False, "bf16": False, "warmup_steps": 0}
    limits |= {"dev": {"examples": str(folder / "blend/examples.jsonl.zst"), "steps": 2}}
    kinds = {"one": {}, "copies": {}, "shards": {"sharding": "fsdp2", "save_steps": 2}}
    one, *others = (
        TrainConfig.model_validate(places | limits | SETTINGS | extra | {"out": str(folder / name)})
        for name, extra in kinds.items()
    )
    train(one)
    (folder / "worker.py").write_text(WORKER)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*launch, folder / "worker.py", folder, *(json.dumps(c.model_dump(mode="json")) for c in others)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def curve(log):
    return [entry["loss"] for entry in json.loads(log.read_text()) if "loss" in entry]


def seen(runs, name):
    """Return what each process saw of the model that it trained."""
    return [json.loads((runs / f"{name}-{rank}.json").read_text()) for rank in (0, 1)]


def apart(runs, name):
    one, other = (load_file(runs / run / "model/model.safetensors") for run in ("one", name))
    assert one.keys() == other.keys()
    return max(float((one[key].float() - other[key].float()).abs().max()) for key in one)


def test_two_processes_with_whole_models_learn_what_one_does(runs):
    assert [s["class"] for s in seen(runs, "copies")] == ["DistributedDataParallel"] * 2
    assert len(curve(runs / "one/log.json")) == 4
    assert curve(runs / "copies/log.json") == pytest.approx(curve(runs / "one/log.json"), abs=1e-4)
    assert apart(runs, "copies") < 1e-3


def test_two_processes_with_a_model_in_shards_learn_what_one_does(runs):
    first, second = seen(runs, "shards")
    assert {first["class"], second["class"]} == {"FSDPRowModel"}
    assert 0.4 < first["held"] / first["whole"] < 0.6
    assert first["held"] + second["held"] == first["whole"]
    assert curve(runs / "uninterrupted.json") == pytest.approx(curve(runs / "one/log.json"), abs=1e-4)


def test_a_run_in_shards_goes_on_where_it_was_stopped(runs):
    assert curve(runs / "shards/log.json") == curve(runs / "uninterrupted.json")
    assert apart(runs, "shards") < 1e-3


@pytest.mark.parametrize("name", ["copies", "shards"])
def test_two_processes_measure_what_one_does(runs, name):
    one, other = (
        [entry for entry in json.loads((runs / run / "log.json").read_text()) if "dev_auc" in entry]
        for run in ("one", name)
    )
    assert [entry["step"] for entry in other] == [0, 2, 4]
    for alone, shared in zip(one, other, strict=True):
        assert shared == pytest.approx(alone, abs=1e-3)
