"""A causal language model out of a GGUF file, dequantised, as `save_pretrained` takes it.

transformers reads GGUF too, but holds all tensors in float32 at once (7 GB for the 1.5B base), gives input and output
embeddings a tensor each, and refuses to save. Here one tensor at a time is made whole, in 16 bits.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rankrag.errors import ModelError

_TENSORS = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""Names of a layer's tensors in GGUF and in transformers, for Qwen2."""


def read_model(path: Path) -> tuple[Any, Any]:
    """Return tokenizer and model: a Qwen2 in bfloat16, any other architecture in float32 by transformers' own reader.

    Where a file holds two embeddings of different precision, both become the output's (`output.weight`), which decides
    what is written; so the model has as many parameters as the one that was quantised.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    where: dict[str, Any] = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    config = AutoConfig.from_pretrained(**where)
    if config.model_type != "qwen2":
        return tokenizer, _by_transformers(where)
    import torch

    config.tie_word_embeddings = True
    with torch.device("meta"):  # so that no time and memory goes into weights that are overwritten
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.to_empty(device="cpu")
    model.model.rotary_emb = type(model.model.rotary_emb)(config=config)  # its angles are no weights of the file
    _load(model, path)
    model.tie_weights()
    return tokenizer, model.eval()


def _load(model: Any, path: Path) -> None:
    import torch
    from gguf import GGUFReader
    from gguf.quants import dequantize

    parameters = dict(model.named_parameters())
    missing = set(parameters)
    tensors = {tensor.name: tensor for tensor in GGUFReader(path).tensors}
    embeddings = {"output.weight", "token_embd.weight"} & tensors.keys()
    for name, tensor in tensors.items():
        if name == "token_embd.weight" and "output.weight" in embeddings:
            continue
        wanted = "model.embed_tokens.weight" if name in embeddings else _name(name)
        if wanted not in parameters:
            raise ModelError(f"{path}: holds a tensor {name!r} that a Qwen2 has not")
        whole = dequantize(tensor.data, tensor.tensor_type)
        whole = whole if whole.flags.writeable else whole.copy()  # torch warns of arrays that it could not write to
        with torch.no_grad():
            parameters[wanted].copy_(torch.from_numpy(whole).view(parameters[wanted].shape))
        missing.discard(wanted)
    if missing - {"lm_head.weight"}:
        raise ModelError(f"{path}: lacks {len(missing)} tensors, among them {sorted(missing)[0]}")


def _name(tensor: str) -> str:
    if tensor == "output_norm.weight":
        return "model.norm.weight"
    found = re.fullmatch(r"blk\.(\d+)\.(\w+)\.(weight|bias)", tensor)
    return f"model.layers.{found[1]}.{_TENSORS.get(found[2], '?')}.{found[3]}" if found else ""


def _by_transformers(where: dict[str, Any]) -> Any:
    import torch
    from transformers import AutoModelForCausalLM

    loaded: Any = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    config = loaded.config
    del config.quantization_config  # the weights are no longer quantised; save_pretrained refuses with it
    plain = type(loaded)(config)
    plain.load_state_dict(loaded.state_dict())
    plain.generation_config = loaded.generation_config
    return plain
