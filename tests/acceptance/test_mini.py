"""rankrag-mini itself gives the scores that its small copies in the suite give: on all paths, and in llama.cpp."""

from __future__ import annotations

import json

import pytest

from rankrag.export.gguf import export_gguf
from rankrag.models.prepared import prepare_model
from rankrag.models.transformers import TransformersModel

pytestmark = pytest.mark.acceptance


def test_rankrag_mini_gives_a_pair_one_score(run, tmp_path, capsys):
    row = {
        "id": "q",
        "question": "Which river is long?",
        "candidates": ["The Tagus is a long river.", "Bread is baked."],
    }
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    assert run("parity", "--candidates", path) == 0
    assert "exact paths agree within 0.0001" in capsys.readouterr().out


def test_rankrag_mini_in_llama_cpp_ranks_as_here(tmp_path):
    mini = TransformersModel(prepare_model("rankrag-mini"), device="cpu", dtype="float32")
    assert export_gguf(mini, tmp_path / "out", "f16") < 0.1
