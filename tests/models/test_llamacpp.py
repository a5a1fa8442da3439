"""A real llama.cpp server, started here, gives our scores for a tiny Llama that is written as GGUF."""

from __future__ import annotations

import numpy as np
import pytest

from rankrag.models import SamplingParams
from rankrag.models.openai import OpenAIModel, parse_address
from rankrag.models.transformers import TransformersModel
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Question

from ..conftest import TINY_LLAMA, save_random

xllamacpp = pytest.importorskip("xllamacpp", reason="llama.cpp is not installed: pip install 'rankrag[llamacpp]'")

NAMES = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def write_gguf(path, model, tokenizer):
    import gguf

    config, state = model.config, model.state_dict()
    out = gguf.GGUFWriter(str(path), "llama")
    out.add_context_length(config.max_position_embeddings)
    out.add_embedding_length(config.hidden_size)
    out.add_block_count(config.num_hidden_layers)
    out.add_feed_forward_length(config.intermediate_size)
    out.add_head_count(config.num_attention_heads)
    out.add_head_count_kv(config.num_key_value_heads)
    out.add_rope_dimension_count(config.head_dim)
    out.add_layer_norm_rms_eps(config.rms_norm_eps)
    out.add_vocab_size(config.vocab_size)
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    control = set(tokenizer.all_special_ids)
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")
    out.add_token_list(tokens)
    out.add_token_types([gguf.TokenType.CONTROL if i in control else gguf.TokenType.NORMAL for i in range(len(tokens))])
    out.add_token_merges([f"{a} {b}" for a, b in tokens_merges(tokenizer)])
    out.add_eos_token_id(tokenizer.eos_token_id)
    out.add_add_bos_token(False)

    def put(name, tensor):
        out.add_tensor(name, np.ascontiguousarray(tensor.float().numpy()))

    put("token_embd.weight", state["model.embed_tokens.weight"])
    put("output_norm.weight", state["model.norm.weight"])
    put("output.weight", state["lm_head.weight"])
    for layer in range(config.num_hidden_layers):
        for ours, theirs in NAMES.items():
            tensor = state[f"model.layers.{layer}.{ours}.weight"]
            if theirs in ("attn_q", "attn_k"):  # llama.cpp turns neighbours, transformers halves
                heads = config.num_attention_heads if theirs == "attn_q" else config.num_key_value_heads
                rows, width = tensor.shape
                tensor = tensor.reshape(heads, 2, rows // heads // 2, width).swapaxes(1, 2).reshape(rows, width)
            put(f"blk.{layer}.{theirs}.weight", tensor)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def tokens_merges(tokenizer):
    import json

    return json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]


@pytest.fixture(scope="module")
def local(tokenizer, tmp_path_factory):
    sizes = TINY_LLAMA | {"initializer_range": 0.2, "tie_word_embeddings": False}
    directory = save_random("llama", tokenizer, tmp_path_factory.mktemp("llama"), **sizes)
    model = TransformersModel(directory, device="cpu", dtype="float32")
    write_gguf(directory / "model.gguf", model.model, tokenizer)
    return directory, model


@pytest.fixture(scope="module")
def server(local):
    directory, _ = local
    params = xllamacpp.CommonParams()
    params.model.path = str(directory / "model.gguf")
    params.n_ctx, params.n_parallel, params.warmup = 2048, 1, False
    params.cpuparams.n_threads = 1
    started = xllamacpp.Server(params)
    address = parse_address(f"{started.listening_address}/v1", str(directory))
    yield OpenAIModel(address, concurrency=1, retries=2)
    del started


def test_its_scores_are_ours(server, local):
    _, model = local
    form = model.contract.format
    prompts = [
        ranking_prompt(form, Question("q", "why?"), Passage(str(i), "word " * n)) for i, n in enumerate((1, 9, 4))
    ]
    assert server.kind == "llama.cpp"
    found, expected = (m.choice_logprobs(prompts, ["True", "False"]) for m in (server, model))
    odds = [true - false for true, false in expected]
    assert max(odds) - min(odds) > 0.1
    for row, wanted in zip(found, expected, strict=True):
        assert row == pytest.approx(wanted, abs=2e-2)  # its kernels round more: 4e-3 here
    params = SamplingParams(max_new_tokens=6)
    assert "".join(server.stream(prompts[0], params)) == server.generate(prompts[:1], params)[0]
