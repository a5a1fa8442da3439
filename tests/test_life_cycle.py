"""The whole life of a model on a made-up language of rivers: blend, train, fit, index, ask, rerank, evaluate."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import yaml

from rankrag.data.files import write_rows

from .conftest import Run

pytestmark = pytest.mark.slow

NAMES = ["Alder", "Bracken", "Cedar", "Dogwood", "Elm", "Fern", "Gorse", "Hazel", "Iris", "Juniper", "Kelp", "Larch"]
TOWNS = [
    "Ashford",
    "Burton",
    "Corby",
    "Derby",
    "Exeter",
    "Frome",
    "Goole",
    "Hull",
    "Ilford",
    "Jarrow",
    "Kendal",
    "Leeds",
]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Rows in the formats of docs/data.md, as train and dev."""
    folder = tmp_path / "data" / "squad"
    folder.mkdir(parents=True)
    rng = random.Random(0)
    passages, train, dev = [], [], []
    for number in range(60):
        name, town = f"{NAMES[number % 12]}{number}", rng.choice(TOWNS)
        text = f"The river {name} is long. It rises in the hills and reaches the sea at {town}{number}."
        passages.append({"id": f"p{number}", "title": f"River {name}", "text": text})
        row = {
            "id": f"q{number}",
            "question": f"Where does the {name} reach the sea?",
            "answers": [f"{town}{number}"],
            "positive_ids": [f"p{number}"],
        }
        (dev if number % 6 == 0 else train).append(row)
    for name, rows in (("corpus", passages), ("train", train), ("dev", dev)):
        write_rows(folder / f"squad.{name}.jsonl.zst", rows)
    return folder.parent


def test_a_model_is_made_fitted_and_used(
    run: Run, tiny_model_dir: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = {
        "licence": "MIT",
        "name": "squad",
        "rows": "squad/squad.train.jsonl.zst",
        "corpus": "squad/squad.corpus.jsonl.zst",
        "passages": 40,
        "lists": 5,
        "qa": 1,
    }
    blend, training = tmp_path / "blend.yaml", tmp_path / "train.yaml"
    blend.write_text(yaml.safe_dump({"data": str(data), "held_back": 0.2, "sources": [source]}), encoding="utf-8")
    settings = {
        "model": str(tiny_model_dir),
        "blend": str(tmp_path / "blend"),
        "out": str(tmp_path / "run"),
        "max_steps": 30,
        "tokens_per_batch": 1536,
        "compile": False,
        "bf16": False,
        "lora": {"r": 4, "alpha": 8},
    }
    training.write_text(yaml.safe_dump(settings), encoding="utf-8")

    assert run("blend", blend, "--out", tmp_path / "blend") == 0
    assert run("train", training) == 0
    log = json.loads((tmp_path / "run" / "log.json").read_text(encoding="utf-8"))
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert float(losses[-1]) < float(losses[0])

    adapter = tmp_path / "run" / "adapter"
    model = ("--model", adapter, "--dtype", "float32")
    capsys.readouterr()
    fitting = (
        "fit",
        blend,
        "--out",
        tmp_path / "fit",
        "--save",
        adapter,
        "--no-vectors",
        "--source",
        "squad",
        "--n",
        "5",
    )
    assert run(*fitting, *model) == 0
    fitted = json.loads(capsys.readouterr().out)
    contract = json.loads((adapter / "rankrag_config.json").read_text(encoding="utf-8"))
    assert fitted == {name: contract[name] for name in fitted}

    index = tmp_path / "index"
    assert run("index", data / "squad" / "squad.corpus.jsonl.zst", "--out", index, "--no-vectors") == 0
    capsys.readouterr()
    asked = ("ask", "Where does the Alder0 reach the sea?", "--index", index, "--json", "--n", "5", "--k", "2")
    assert run(*asked, *model) == 0
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["reranked"]) == 5
    assert answer["retrieved"][0]["id"] == "p0"

    measured = ("evaluate", "--data", data, "--out", tmp_path / "results", "--set", "squad", "--retriever", "bm25")
    assert run(*measured, "--n", "5", "--k", "2", "--sample", "4", *model) == 0
    report = capsys.readouterr().out
    assert "| SQuAD | adapter | bm25 | R@1 |" in report
