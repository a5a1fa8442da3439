"""A real llama.cpp, started here, scores and answers as this process does (its files: `tests/export/test_gguf.py`)."""

from __future__ import annotations

import sys

import pytest
import torch

from rankrag.contract import save_contract
from rankrag.errors import MissingExtraError
from rankrag.export.gguf import write_gguf
from rankrag.models import SamplingParams
from rankrag.models.llamacpp import serving
from rankrag.models.transformers import TransformersModel
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Question

from ..conftest import TINY_LLAMA, save_random


@pytest.fixture(scope="module")
def local(tokenizer, tmp_path_factory):
    sizes = TINY_LLAMA | {"initializer_range": 0.2, "tie_word_embeddings": False}
    directory = save_random("llama", tokenizer, tmp_path_factory.mktemp("llama"), **sizes)
    model = TransformersModel(directory, device="cpu", dtype="float32")
    write_gguf(model, directory / "model.gguf", "f32")
    save_contract(model.contract, directory)
    return directory, model


@pytest.fixture(scope="module")
def server(local):
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed: pip install 'rankrag[llamacpp]'")
    directory, _ = local
    with serving(directory / "model.gguf", directory, context=2048, threads=1) as served:
        yield served


def test_its_scores_are_ours(server, local):
    _, model = local
    texts = [
        ranking_prompt(model.contract.format, Question("q", f"{i} why?"), Passage(str(i), "word " * n))
        for i, n in enumerate((1, 9, 4, 2, 3, 6))
    ]
    prompts = model.encode(texts)
    assert server.kind == "llama.cpp"
    found, expected = (m.choice_logprobs(prompts, ["True", "False"]) for m in (server, model))
    odds = [true - false for true, false in expected]
    assert max(odds) - min(odds) > 0.1
    for row, wanted in zip(found, expected, strict=True):
        assert row == pytest.approx(wanted, abs=1e-3)
    params = SamplingParams(max_new_tokens=6)
    assert "".join(server.stream(prompts[0], params)) == server.generate(prompts[:1], params)[0]


def test_a_first_token_that_is_half_a_character_hides_no_label(server, local):
    _, model = local
    labels = list(model.contract.label_ids)
    greedy = {"n_predict": 1, "n_probs": 4, "temperature": 0}
    rows = [[i, i + 1, i + 2] for i in range(5, 60)]
    told = ["completion_probabilities" in server._remote.ask("/completion", greedy | {"prompt": row}) for row in rows]
    assert not all(told)
    for row in (row for row, known in zip(rows, told, strict=True) if not known):
        with torch.inference_mode():
            expected = torch.log_softmax(model.model(torch.tensor([row])).logits[0, -1], -1)[labels].tolist()
        assert server._llama_cpp(row, labels) == pytest.approx(expected, abs=1e-3)


def test_without_llama_cpp_the_error_names_the_extra(local, monkeypatch):
    directory, _ = local
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with (
        pytest.raises(MissingExtraError, match=r"rankrag\[llamacpp\]"),
        serving(directory / "model.gguf", directory, context=64, threads=1),
    ):
        pass
