"""An ONNX graph in ONNX Runtime gives our scores, whatever stands beside a row."""

from __future__ import annotations

import copy
import sys

import pytest

from rankrag.contract import load_contract
from rankrag.errors import MissingExtraError, ModelError
from rankrag.export.onnx import LabelLogprobs, export_onnx, logprobs
from rankrag.models.transformers import TransformersModel
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Question

pytest.importorskip("onnx", reason="onnx is not installed: pip install 'rankrag[onnx]'")

PROMPTS = [(Question("q", "which river?"), Passage(str(i), "the Tagus " * n)) for i, n in enumerate((1, 30, 7))]


@pytest.fixture(scope="module")
def model(tiny_model_dir):
    return TransformersModel(tiny_model_dir, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("onnx") / "out"
    assert export_onnx(model, out) < 1e-3
    return out


def test_its_log_probabilities_are_ours(model, exported):
    prompts = model.encode([ranking_prompt(model.contract.format, *pair) for pair in PROMPTS])
    expected = model.choice_logprobs(prompts, model.contract.labels)
    rows = [prompt.ids for prompt in prompts]
    together = logprobs(exported / "model.onnx", rows)
    for row, wanted, alone in zip(rows, expected, together, strict=True):
        assert alone == pytest.approx(wanted, abs=1e-4)
        assert logprobs(exported / "model.onnx", [row])[0] == pytest.approx(wanted, abs=1e-4)
    assert load_contract(exported) == model.contract


def test_a_graph_whose_scores_are_not_ours_is_not_kept(model, tmp_path, monkeypatch):
    init = LabelLogprobs.__init__

    def louder(graph, model):
        init(graph, model)
        graph.head = copy.deepcopy(graph.head).requires_grad_(False)
        graph.head.weight *= 2

    monkeypatch.setattr(LabelLogprobs, "__init__", louder)
    with pytest.raises(ModelError, match="onnx: its log-odds differ from ours"):
        export_onnx(model, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_installed_is_named_with_its_extra(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"rankrag\[onnx\]"):
        logprobs(exported / "model.onnx", [[1, 2]])
