"""A GGUF file in a real llama.cpp server gives our tokens and, within its rounding, our scores."""

from __future__ import annotations

import copy

import pytest
from tokenizers import pre_tokenizers

from rankrag.contract import load_contract, save_contract
from rankrag.errors import ModelError
from rankrag.export import gguf
from rankrag.export.checking import pairs_to_check
from rankrag.export.gguf import export_gguf, write_gguf
from rankrag.models import SamplingParams
from rankrag.models.transformers import TransformersModel
from rankrag.parity.compare import kendall_tau
from rankrag.rerank import judge
from rankrag.templates import ranking_prompt

from ..conftest import LONG_LLAMA, save_random

pytest.importorskip("xllamacpp", reason="llama.cpp is not installed: pip install 'rankrag[llamacpp]'")

from rankrag.models.llamacpp import serving

LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 256,
}


@pytest.fixture(scope="module")
def opened(tokenizer, tmp_path_factory):
    def make(architecture, **sizes):
        directory = save_random(architecture, tokenizer, tmp_path_factory.mktemp(architecture), **LONG_LLAMA | sizes)
        return TransformersModel(directory, device="cpu", dtype="float32")

    return make


@pytest.mark.parametrize(
    ("architecture", "sizes"),
    [
        ("llama", {"tie_word_embeddings": True}),
        ("llama", {"rope_parameters": LLAMA3_ROPE}),
        ("mistral", {"sliding_window": None}),
        ("qwen2", {}),
        ("qwen3", {"head_dim": 32}),
    ],
)
def test_llama_cpp_gives_our_log_odds(opened, tmp_path, architecture, sizes):
    model = opened(architecture, **sizes)
    assert export_gguf(model, tmp_path / "out", "f32") < 1e-3
    assert load_contract(tmp_path / "out") == model.contract


@pytest.fixture(scope="module")
def model(opened):
    return opened("llama", initializer_range=0.2)


@pytest.mark.parametrize("weights", ["f16", "q8_0"])
def test_fewer_bits_round_a_little_and_keep_most_of_the_order(model, tmp_path, weights):
    assert 0 < export_gguf(model, tmp_path / "out", weights) < gguf.TOLERANCES[weights]
    pairs = pairs_to_check(model)
    with serving(tmp_path / "out" / "model.gguf", tmp_path / "out", context=2048, threads=1) as served:
        found, expected = ([j.log_odds for j in judge(m, pairs)] for m in (served, model))
    assert kendall_tau(found, expected) >= 0.6


def test_it_cuts_our_segments_into_our_tokens_and_answers(model, tmp_path):
    write_gguf(model, tmp_path / "model.gguf", "f32")
    model.tokenizer.save_pretrained(tmp_path)
    save_contract(model.contract, tmp_path)
    texts = [ranking_prompt(model.contract.format, *pair) for pair in pairs_to_check(model)]
    prompts = model.encode(texts)
    segments = list(dict.fromkeys(segment for text in texts for segment in text))
    params = SamplingParams(max_new_tokens=6)
    with serving(tmp_path / "model.gguf", tmp_path, context=2048, threads=1) as served:
        asked = [{"content": s.text, "add_special": True, "parse_special": s.kind == "fixed"} for s in segments]
        found = [served._remote.ask("/tokenize", body)["tokens"] for body in asked]
        assert "".join(served.stream(prompts[0], params)) == served.generate(prompts[:1], params)[0]
    assert found == [list(model.encoder.encode([(s,)])[0].ids) for s in segments]


@pytest.mark.parametrize(
    ("pre_tokenizer", "name"),
    [
        (pre_tokenizers.ByteLevel(add_prefix_space=False), "gpt-2"),
        (
            pre_tokenizers.Sequence(
                [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
            ),
            "smollm",
        ),
    ],
)
def test_the_rule_for_words_is_read_off_the_tokenizer(tokenizer, pre_tokenizer, name):
    other = copy.deepcopy(tokenizer)
    other.backend_tokenizer.pre_tokenizer = pre_tokenizer
    assert gguf._words(other) == name


def test_other_tokenizers_are_refused(model, tmp_path, monkeypatch):
    other = copy.deepcopy(model.tokenizer)
    other.backend_tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    monkeypatch.setattr(model, "tokenizer", other)
    with pytest.raises(ModelError, match=r"byte-level BPE .*found: Metaspace.*convert_hf_to_gguf"):
        export_gguf(model, tmp_path / "out")


def test_other_architectures_are_refused(tokenizer, tmp_path):
    directory = save_random("gpt2", tokenizer, tmp_path / "in", n_embd=16, n_layer=1, n_head=2, n_positions=512)
    with pytest.raises(ModelError, match=r"gpt2 cannot be written as GGUF .*convert_hf_to_gguf"):
        export_gguf(TransformersModel(directory, device="cpu", dtype="float32"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_sliding_window_and_stretched_positions_are_refused(opened, tmp_path):
    with pytest.raises(ModelError, match="sliding window"):
        write_gguf(opened("mistral", sliding_window=64), tmp_path / "model.gguf", "f16")
    yarn = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 256}
    with pytest.raises(ModelError, match="'yarn'"):
        write_gguf(opened("llama", rope_parameters=yarn), tmp_path / "model.gguf", "f16")


def test_a_file_whose_scores_are_not_ours_is_not_kept(model, tmp_path, monkeypatch):
    monkeypatch.setitem(gguf.ARCHITECTURES, "llama", ("llama", False))
    with pytest.raises(ModelError, match="log-odds differ from ours"):
        export_gguf(model, tmp_path / "out", "f32")
    assert list(tmp_path.iterdir()) == []
