"""A model out of a GGUF file is the one that was written, with one embedding, and can be saved."""

from __future__ import annotations

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from rankrag.contract import save_contract
from rankrag.data.files import sha256
from rankrag.encoding import default_contract
from rankrag.errors import ModelError
from rankrag.export.gguf import write_gguf
from rankrag.models import gguf_weights, prepared
from rankrag.models.family import Slice
from rankrag.models.gguf_weights import read_model
from rankrag.models.transformers import TransformersModel

from ..conftest import TINY_LLAMA, save_random
from .family import stand_in


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


def test_queries_and_keys_of_a_llama_come_back_in_their_own_order(tokenizer, tmp_path):
    folder = save_random("llama", tokenizer, tmp_path, **TINY_LLAMA, tie_word_embeddings=True)
    model = TransformersModel(folder, device="cpu", dtype="float32")
    write_gguf(model, tmp_path / "model.gguf", "f32")
    _, found = read_model(tmp_path / "model.gguf")
    expected = model.model.state_dict()
    assert found.dtype == torch.float32
    assert all(torch.equal(weight, expected[name]) for name, weight in found.state_dict().items())


def test_a_file_with_a_tensor_too_many_or_too_few_is_refused(written, monkeypatch):
    names = gguf_weights.names_in_gguf(written[0])
    lacking = {ours: theirs for ours, theirs in names.items() if theirs != "blk.0.ffn_up.weight"}
    for known in (lacking, names | {"model.norm.weight": "blk.0.other.weight"}):
        monkeypatch.setattr(gguf_weights, "names_in_gguf", lambda _, known=known: known)
        with pytest.raises(ModelError, match=r"its tensors are not those of a qwen2: 'blk.0.\w+.weight' is one of"):
            read_model(written[1])


def test_base_and_adapter_become_one_directory_that_scores_as_both_together(written, tmp_path, monkeypatch):
    _, path = written
    tokenizer, model = read_model(path)
    torch.manual_seed(0)
    settings = LoraConfig(
        r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False, task_type="CAUSAL_LM"
    )
    adapted = get_peft_model(copy.deepcopy(model), settings)
    package = tmp_path / "package"
    adapted.save_pretrained(package, save_embedding_layers=False)
    save_contract(default_contract(tokenizer), package)
    monkeypatch.setenv("RANKRAG_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RANKRAG_BASES", str(path))
    whole = Slice("carrier==1", "part01.bin", path.stat().st_size, sha256(path))
    base = stand_in(bytes=whole.bytes, sha256=whole.sha256, parts=(whole,))
    monkeypatch.setattr(prepared, "base_of", lambda _: base)
    monkeypatch.setattr(prepared, "adapter_dir", lambda _: package)
    monkeypatch.setattr(prepared, "is_trained", lambda _: True)
    found = TransformersModel(prepared.prepare_model("rankrag-small"), device="cpu", dtype="bfloat16")
    together, alone = logits(adapted), logits(model)
    assert torch.allclose(logits(found.model), together, atol=0.1 * float((together - alone).abs().max()))
    assert found.contract.labels == ("True", "False")
    assert found.model.get_input_embeddings().weight is found.model.get_output_embeddings().weight
