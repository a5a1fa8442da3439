"""A model out of a GGUF file is the one that was written, with one embedding, and can be saved."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM

from rankrag.errors import ModelError
from rankrag.export.gguf import write_gguf
from rankrag.models import gguf_weights
from rankrag.models.gguf_weights import read_model
from rankrag.models.transformers import TransformersModel

from ..conftest import TINY_LLAMA, save_random


@pytest.fixture(scope="module")
def written(tokenizer, tmp_path_factory):
    """A random Qwen2 whose two embeddings differ, and its GGUF file."""
    folder = tmp_path_factory.mktemp("qwen2")
    save_random("qwen2", tokenizer, folder, **TINY_LLAMA, tie_word_embeddings=False)
    model = TransformersModel(folder, device="cpu", dtype="float32")
    write_gguf(model, folder / "model.gguf", "f32")
    return model.model, folder / "model.gguf"


def logits(model):
    with torch.inference_mode():
        return model(torch.tensor([[5, 9, 3, 300, 7]])).logits.float()


def test_it_is_the_model_that_was_written_with_the_output_embedding_for_both(written):
    model, path = written
    _, found = read_model(path)
    expected = copy.deepcopy(model)
    expected.get_input_embeddings().weight.data.copy_(model.get_output_embeddings().weight)
    for weight in expected.parameters():  # not the angles of positions, which stay in float32
        weight.data = weight.data.bfloat16()
    assert torch.allclose(logits(found), logits(expected), atol=1e-3)
    assert not torch.allclose(logits(found), logits(model), atol=0.5)
    assert found.get_input_embeddings().weight is found.get_output_embeddings().weight


def test_it_can_be_saved_and_opened_again(written, tmp_path):
    tokenizer, found = read_model(written[1])
    found.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path, dtype="auto")
    assert again.dtype == torch.bfloat16
    assert torch.equal(logits(again), logits(found))


def test_a_file_with_a_tensor_too_many_or_too_few_is_refused(written, monkeypatch):
    monkeypatch.setattr(gguf_weights, "_TENSORS", {k: v for k, v in gguf_weights._TENSORS.items() if k != "ffn_up"})
    with pytest.raises(ModelError, match=r"holds a tensor 'blk.0.ffn_up.weight'"):
        read_model(written[1])
