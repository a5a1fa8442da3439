"""The shipped rankrag-mini, opened as its users open it; tests/acceptance/test_demo.py asks it questions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rankrag.models.prepared import prepare_model
from rankrag.opening import open_model

from .conftest import Run

pytestmark = pytest.mark.slow


def test_the_shipped_adapter_belongs_to_its_base_and_is_merged_once() -> None:
    directory = prepare_model("rankrag-mini")
    stamp = (directory / "model.safetensors").stat().st_mtime_ns
    assert prepare_model("rankrag-mini") == directory
    assert (directory / "model.safetensors").stat().st_mtime_ns == stamp
    contract = open_model().contract
    assert contract.score == "true_vs_false"
    assert contract.base_sha256.startswith("b179c952")


def test_candidates_of_any_origin_are_reranked(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = {
        "id": "q",
        "query": "When was the lighthouse built?",
        "candidates": ["Bread is baked in an oven.", "The lighthouse was built in 1852 by two brothers."],
    }
    path = tmp_path / "candidates.jsonl"
    path.write_text(json.dumps(row), encoding="utf-8")
    assert run("rerank", "--candidates", path) == 0
    ranking = json.loads(capsys.readouterr().out)["ranking"]
    assert [c["id"] for c in ranking] == ["q/c1", "q/c0"]
    assert ranking[0]["relevance"] > 0.5 > ranking[1]["relevance"]
