"""A merged model and its tokenizer as one GGUF file, for llama.cpp and programs built on it.

The `gguf` package writes the file, and `models.gguf_weights` has the names of weights and the order of rows. What is
here: scaled rotary frequencies, and the tokenizer's rule for words.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from rankrag.contract import save_contract
from rankrag.errors import ModelError
from rankrag.export.checking import check
from rankrag.models.gguf_weights import ARCHITECTURES, names_in_gguf, with_rows_for
from rankrag.models.llamacpp import serving
from rankrag.models.transformers import TransformersModel
from rankrag.rerank import judge

Weights = Literal["f32", "f16", "q8_0", "q4_0"]

FILE_NAME = "model.gguf"
TOLERANCES: dict[Weights, float] = {"f32": 1e-3, "f16": 0.1, "q8_0": 1.0, "q4_0": 5.0}
"""How far log-odds may differ in llama.cpp, by number type; docs/backends.md has measurements."""

_LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_WORDS = {
    ("bytes with words",): "gpt-2",
    ("digits", "bytes with words"): "smollm",
    (_LLAMA3_WORDS, "bytes"): "llama-bpe",
    (_LLAMA3_WORDS.replace(r"\p{N}{1,3}", r"\p{N}"), "bytes"): "qwen2",
}
"""llama.cpp's name for each way of cutting text into words before bytes are merged."""


def export_gguf(model: TransformersModel, out: Path, weights: Weights = "f16") -> float:
    """Write `model.gguf` and the tokenizer; return the largest difference of log-odds in llama.cpp."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f"{out.name}.partial-") as beside:
        folder = Path(beside) / out.name
        folder.mkdir()
        model.tokenizer.save_pretrained(folder)
        save_contract(model.contract, folder)
        write_gguf(model, folder / FILE_NAME, weights)
        limits = {"context": model.contract.max_tokens, "threads": torch.get_num_threads()}
        with serving(folder / FILE_NAME, folder, **limits) as served:
            apart = check("gguf", model, lambda pairs: [j.log_odds for j in judge(served, pairs)], TOLERANCES[weights])
        os.replace(folder, out)
    return apart


def write_gguf(model: TransformersModel, path: Path, weights: Weights) -> None:
    """Write the file; `ModelError` for an architecture or a tokenizer that cannot be written."""
    import gguf

    config = model.model.config
    if config.model_type not in ARCHITECTURES:
        raise ModelError(
            f"{config.model_type} cannot be written as GGUF (written are: {', '.join(ARCHITECTURES)}); "
            "convert the model directory with llama.cpp's own convert_hf_to_gguf.py"
        )
    if set(getattr(config, "layer_types", None) or ()) - {"full_attention"} or getattr(config, "sliding_window", None):
        raise ModelError(
            f"{config.model_type} with a sliding window is not written as GGUF; use llama.cpp's convert_hf_to_gguf.py"
        )
    words, factors, names = _words(model.tokenizer), _rotary_factors(model), names_in_gguf(model.model)
    file = gguf.GGUFWriter(str(path), ARCHITECTURES[config.model_type][0], use_temp_file=True)
    _describe(file, model)
    _write_tokenizer(file, model.tokenizer, words, config.vocab_size)
    for ours, tensor in model.model.state_dict().items():
        if ours == "lm_head.weight" and config.tie_word_embeddings:
            continue
        values = np.ascontiguousarray(with_rows_for("llama.cpp", ours, tensor, config).float().numpy())
        kind = _type_of(gguf.GGMLQuantizationType, names[ours], values, weights)
        file.add_tensor(names[ours], gguf.quants.quantize(values, kind), raw_dtype=kind)
    if factors is not None:
        file.add_tensor("rope_freqs.weight", factors)
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()


def _describe(file: Any, model: TransformersModel) -> None:
    config = model.model.config
    heads = config.num_attention_heads
    file.add_context_length(config.max_position_embeddings)
    file.add_embedding_length(config.hidden_size)
    file.add_block_count(config.num_hidden_layers)
    file.add_feed_forward_length(config.intermediate_size)
    file.add_head_count(heads)
    file.add_head_count_kv(config.num_key_value_heads)
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    file.add_key_length(width)
    file.add_value_length(width)
    file.add_rope_dimension_count(width)
    file.add_rope_freq_base(config.rope_parameters["rope_theta"])
    file.add_layer_norm_rms_eps(config.rms_norm_eps)
    file.add_vocab_size(config.vocab_size)


def _write_tokenizer(file: Any, tokenizer: Any, words: str, size: int) -> None:
    """Write the vocabulary, filled up to `size`, so that llama.cpp tokenises our segments as we do."""
    import gguf

    known = len(tokenizer)
    special = set(tokenizer.all_special_ids) | {i for i, t in tokenizer.added_tokens_decoder.items() if t.special}
    added = set(tokenizer.added_tokens_decoder) - special
    file.add_tokenizer_model("gpt2")
    file.add_tokenizer_pre(words)
    file.add_token_list([*tokenizer.convert_ids_to_tokens(range(known)), *(f"[PAD{i}]" for i in range(known, size))])
    types = [
        gguf.TokenType.CONTROL
        if i in special
        else gguf.TokenType.USER_DEFINED
        if i in added
        else gguf.TokenType.NORMAL
        if i < known
        else gguf.TokenType.UNUSED
        for i in range(max(known, size))
    ]
    file.add_token_types(types)
    file.add_token_merges([" ".join(pair) for pair in _backend(tokenizer)["model"]["merges"]])
    for role in ("bos", "eos", "pad"):
        if (found := getattr(tokenizer, f"{role}_token_id")) is not None:
            getattr(file, f"add_{role}_token_id")(found)
    file.add_add_bos_token(False)  # our prompts have it in its place
    if tokenizer.chat_template:
        file.add_chat_template(tokenizer.chat_template)


def _type_of(types: Any, name: str, values: np.ndarray, weights: Weights) -> Any:
    """Return a tensor's number type: 32 bits for vectors, 8 for embeddings, and a row must be a multiple of a block."""
    if values.ndim == 1:
        return types.F32
    if weights.startswith("q") and values.shape[-1] % 32:
        return types.F16
    return (
        types.Q8_0 if weights == "q4_0" and name in ("token_embd.weight", "output.weight") else types[weights.upper()]
    )


def _rotary_factors(model: TransformersModel) -> np.ndarray | None:
    """Return the divisors of llama.cpp's rotary frequencies, or None if the model does not scale them."""
    parameters = model.model.config.rope_parameters
    kind = parameters["rope_type"]
    if kind == "default":
        return None
    if kind not in ("linear", "llama3"):
        raise ModelError(f"rotary positions scaled by {kind!r} are not written as GGUF; use llama.cpp's converter")
    used = model.model.get_decoder().rotary_emb.inv_freq.float().cpu().numpy()
    plain = parameters["rope_theta"] ** -(np.arange(len(used), dtype=np.float32) / len(used))
    return np.asarray(plain / used, dtype=np.float32)


def _words(tokenizer: Any) -> str:
    """Return llama.cpp's name for the tokenizer's rule for words; `ModelError` if it has none that we know."""
    backend = _backend(tokenizer) if getattr(tokenizer, "is_fast", False) else {}
    steps = backend.get("pre_tokenizer") or {}
    found = tuple(_step(step) for step in steps.get("pretokenizers", [steps]))
    if (backend.get("model") or {}).get("type") != "BPE" or found not in _WORDS:
        raise ModelError(
            "only byte-level BPE tokenizers that cut words as GPT-2, SmolLM, Llama 3 or Qwen 2 are written as GGUF "
            f"(found: {', '.join(found) or 'none'}); convert the model directory with llama.cpp's convert_hf_to_gguf.py"
        )
    return _WORDS[found]


def _step(step: dict[str, Any]) -> str:
    if step.get("type") == "ByteLevel":
        return "bytes with words" if step.get("use_regex") else "bytes"
    if step.get("type") == "Digits" and step.get("individual_digits"):
        return "digits"
    return str((step.get("pattern") or {}).get("Regex") or step.get("type"))


def _backend(tokenizer: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    return found
