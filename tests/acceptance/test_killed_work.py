"""kill -9 while an index is written or a model is trained: nothing is lost, and the next run goes on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch

from rankrag import cores
from rankrag.data.examples import write_examples
from rankrag.retrieval.store import PassageStore
from rankrag.training.checkpoints import all_checkpoints, newest_checkpoint
from rankrag.training.run import train
from tests.acceptance.conftest import ROOT
from tests.conftest import Run
from tests.retrieval.conftest import FakeEncoder, document

pytestmark = pytest.mark.acceptance

WRITER = """
import sys
sys.path.insert(0, {root!r})
from tests.retrieval.conftest import FakeEncoder, document
from rankrag.retrieval.store import PassageStore

store = PassageStore.create_or_open({index!r}, lock_timeout=60)
for sha in range(1, 400):
    for first in range(0, 12, 3):
        batch = [document(f"s{{i}}", *[f"cat {{sha}} {{j}} of {{i}}" for j in range(sha % 5 + 1)], sha256=str(sha))
                 for i in range(first, first + 3)]
        store.put(batch)
        print(sha, first, flush=True)
    store.fill_vectors(FakeEncoder(), lambda done, total: print("vectors", done, flush=True), batch=4)
    store.refresh()
    print("refreshed", flush=True)
"""

KILLED = """
import json, os, signal, sys
import rankrag.training.trainer as trainer
from rankrag.config.training import TrainConfig
from rankrag.training.run import train

seal = trainer.seal
def stop(checkpoint):  # power goes while the second checkpoint is being written
    os.kill(os.getpid(), signal.SIGKILL) if checkpoint.name == "checkpoint-6" else seal(checkpoint)
trainer.seal = stop
train(TrainConfig.model_validate(json.loads(sys.argv[1])))
"""


def start_writer(index: Path) -> subprocess.Popen[str]:
    code = textwrap.dedent(WRITER).format(root=str(ROOT), index=str(index))
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_writer_leaves_every_document_whole(tmp_path, seed):
    lines = random.Random(seed).randint(1, 60)
    encoder = FakeEncoder()
    with start_writer(tmp_path / "index") as writer:
        for _ in range(lines):
            writer.stdout.readline()
        writer.send_signal(signal.SIGKILL)
    store = PassageStore.open(tmp_path / "index")
    for source in store.sources():
        assert source.passages == int(source.sha256) % 5 + 1
    assert store.lexical().retrieve(["cat"], 100)[0]
    store.put([document("s0", "a last dog")])
    store.fill_vectors(encoder)
    store.refresh()
    assert store.missing_vectors() == 0
    assert len(store.hybrid(encoder).retrieve(["dog"], 1000)[0]) == len(store)


def test_two_writers_at_once_lose_nothing(tmp_path):
    with start_writer(tmp_path / "index") as writer:
        writer.stdout.readline()
        store = PassageStore.create_or_open(tmp_path / "index", lock_timeout=60)
        for i in range(15):
            store.put([document(f"mine{i}", "horse", "cow")])
            writer.stdout.readline()
        store.refresh()
        writer.kill()
    assert sum(source.path.startswith("mine") for source in store.sources()) == 15


def test_a_killed_index_run_leaves_a_usable_index_that_the_next_run_completes(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "tagus.md").write_text("The Tagus meets the sea at Lisbon.", encoding="utf-8")
    assert run("index", "docs", "--out", "ix", "--no-vectors") == 0
    for number in range(400):
        text = f"Stream {number} reaches the river {number}. " * 40
        (folder / f"stream{number}.txt").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "rankrag", "index", "docs", "--out", "ix", "--no-vectors"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    before = len(PassageStore.open("ix"))
    deadline = time.monotonic() + 60
    while len(PassageStore.open("ix")) == before and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)  # the moment of the kill is what is tested: in the middle of the work
    process.send_signal(signal.SIGKILL)
    process.wait()
    (ranking,) = PassageStore.open("ix").lexical().retrieve(["Tagus Lisbon"], 1)
    assert ranking[0].passage.id == f"{folder}/tagus.md#0"
    assert run("index", "docs", "--out", "ix", "--no-vectors") == 0
    assert len(PassageStore.open("ix").sources()) == 401


@pytest.fixture
def fixed_threads(monkeypatch):
    """Else a step beside another program takes fewer threads, here or in a child, and they add in another order."""
    monkeypatch.setattr(cores, "_cores", [])
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))


@pytest.mark.usefixtures("fixed_threads")
def test_a_run_that_was_killed_ends_with_the_same_weights_bit_for_bit(tmp_path, config_of, mixed):
    write_examples(tmp_path / "dev.jsonl.zst", mixed)
    lora = {"r": 4, "alpha": 8, "dropout": 0.1}
    dev = {"examples": str(tmp_path / "dev.jsonl.zst"), "steps": 1}
    settings = {"lora": lora, "schedule": "cosine", "batches_per_step": 2, "dev": dev}
    train(config_of(out=str(tmp_path / "whole"), **settings))
    config = config_of(**settings)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, json.dumps(config.model_dump(mode="json"))],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        check=False,
        capture_output=True,
        text=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [path.name for path in all_checkpoints(tmp_path / "run")] == ["checkpoint-3", "checkpoint-6"]
    assert newest_checkpoint(tmp_path / "run") == tmp_path / "run/checkpoint-3"
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
