"""A study small enough to be run: a made-up language of rivers, a tiny random model, a few steps a row."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from experiments.ablation.study import AblationConfig, open_study
from rankrag.config.schema import load_config
from rankrag.data.files import write_rows

TOWNS = ["Ashford", "Burton", "Corby", "Derby", "Exeter", "Frome", "Goole", "Hull", "Ilford", "Jarrow"]
NO_RANKING = {"context_ranking": 0, "retrieval_ranking": 0}


@pytest.fixture(scope="session")
def data(tmp_path_factory) -> Path:
    """Rivers to read about, and instructions."""
    folder = tmp_path_factory.mktemp("data")
    passages, train, dev = [], [], []
    for number in range(48):
        name, town = f"River{number}", f"{TOWNS[number % 10]}{number}"
        text = f"{name} is long. It reaches the sea at {town}."
        passages.append({"id": f"p{number}", "title": name, "text": text})
        row = {
            "id": f"q{number}",
            "question": f"Where does {name} reach the sea?",
            "answers": [town],
            "positive_ids": [f"p{number}"],
        }
        (dev if number % 6 == 0 else train).append(row)
    for part, rows in (("corpus", passages), ("train", train), ("dev", dev)):
        write_rows(folder / f"squad/squad.{part}.jsonl.zst", rows)
    turns = [
        {
            "id": f"i{n}",
            "messages": [{"role": "user", "content": f"Say {n}"}, {"role": "assistant", "content": f"It is {n}"}],
        }
        for n in range(40)
    ]
    write_rows(folder / "instruct/chat.train.jsonl.zst", turns)
    return folder


@pytest.fixture
def config_of(tmp_path, tiny_model_dir, data):
    """Write the four files and the ablation's own; return the path of the last."""

    def make(rows=None, weights=None, **fields) -> Path:
        chat = {"name": "chat", "rows": "instruct/chat.train.jsonl.zst", "kinds": ["sft"], "licence": "MIT"}
        rivers = {"name": "rivers", "rows": "squad/squad.train.jsonl.zst", "corpus": "squad/squad.corpus.jsonl.zst"}
        rivers["licence"] = "MIT"
        training = {
            "model": str(tiny_model_dir),
            "blend": "filled in",
            "out": "filled in",
            "tokens_per_batch": 768,
            "max_tokens": 512,
            "compile": False,
            "bf16": False,
            "warmup_steps": 0,
            "lora": {"r": 4, "alpha": 8},
        }
        files = {
            "stage1_blend": {"data": str(data), "sources": [chat]},
            "blend": {
                "data": str(data),
                "held_back": 0.3,
                "examples": 240,
                "weights": weights or {"rivers": 0.9, "chat": 0.1},
                "sources": [rivers, chat],
            },
            "stage1_train": training,
            "train": training,
        }
        for name, fields_of in files.items():
            (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(fields_of), encoding="utf-8")
        own = {name: str(tmp_path / f"{name}.yaml") for name in files}
        own |= {"stage1_steps": 2, "steps": 3, "questions": {"squad": 6}, "instructions": 5, "n": 3}
        own["rows"] = rows or {
            "full": {"title": "full recipe", "paper": "RankRAG 8B"},
            "no_ranking": {"title": "no ranking", "keep": NO_RANKING, "rerank": False},
            "no_rerank": {"title": "no reranking", "paper": "w/o reranking", "model_of": "full", "rerank": False},
        }
        path = tmp_path / "ablation.yaml"
        path.write_text(yaml.safe_dump(own | fields), encoding="utf-8")
        return path

    return make


@pytest.fixture
def study_of(config_of):
    """Open a study with these rows and fields."""
    return lambda *args, **fields: open_study(load_config(AblationConfig, config_of(*args, **fields)))
