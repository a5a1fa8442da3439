"""A causal language model out of a GGUF file, dequantised, as `save_pretrained` takes it.

transformers reads GGUF too, but holds all tensors in float32 at once (7 GB for the 1.5B base), gives input and output
embeddings a tensor each, and refuses to save. Here one tensor at a time is made whole. `export.gguf` writes such files
with the same names and the same order of rows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch

from rankrag.errors import ModelError

ARCHITECTURES = {
    "llama": ("llama", True),
    "mistral": ("llama", True),
    "qwen2": ("qwen2", False),
    "qwen3": ("qwen3", False),
}
"""By transformers' name: GGUF's name, and whether rows of queries and keys have another order there.

transformers rotates the halves of a head against each other, and llama.cpp rotates neighbours.
"""


def read_model(path: Path) -> tuple[Any, Any]:
    """Return tokenizer and model, with the output's embedding for both: a Qwen2 in bfloat16, others in float32.

    Where a file holds two embeddings of different precision, both become the output's (`output.weight`), which decides
    what is written; so the model has as many parameters as the one that was quantised.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    where: dict[str, Any] = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    tokenizer = AutoTokenizer.from_pretrained(**where)
    config = AutoConfig.from_pretrained(**where)
    config.tie_word_embeddings = True
    with torch.device("meta"):  # so that no time and memory goes into weights that are overwritten
        model = AutoModelForCausalLM.from_config(
            config, dtype=torch.bfloat16 if config.model_type == "qwen2" else torch.float32
        )
    model.to_empty(device="cpu")
    model.model.rotary_emb = type(model.model.rotary_emb)(config=config)  # its angles are no weights of the file
    model.tie_weights()
    _load(model, path)
    return tokenizer, model.eval()


def names_in_gguf(model: Any) -> dict[str, str]:
    """Return GGUF's name for each weight of a transformers model; `ModelError` names those without one."""
    import gguf

    architecture = gguf.MODEL_ARCH[ARCHITECTURES[model.config.model_type][0].upper()]
    known = gguf.get_tensor_name_map(architecture, model.config.num_hidden_layers)
    names = {ours: known.get_name(ours, try_suffixes=(".weight", ".bias")) for ours in model.state_dict()}
    if nameless := [ours for ours, theirs in names.items() if theirs is None]:
        raise ModelError(f"{model.config.model_type}: GGUF has no name for the weights {nameless}")
    return names


def with_rows_for(program: Literal["llama.cpp", "transformers"], name: str, weight: torch.Tensor, config: Any) -> Any:
    """Return a weight with its rows in the order of that program; `name` is transformers'."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
    if not heads or not ARCHITECTURES[config.model_type][1]:
        return weight
    by_head = (heads, 2, -1) if program == "llama.cpp" else (heads, -1, 2)
    return weight.reshape(*by_head, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def _load(model: Any, path: Path) -> None:
    from gguf import GGUFReader
    from gguf.quants import dequantize

    weights = dict(model.named_parameters())
    tensors = {tensor.name: tensor for tensor in GGUFReader(path).tensors}
    wanted = {theirs: ours for ours, theirs in names_in_gguf(model).items() if ours in weights}
    if "output.weight" in tensors:
        wanted["output.weight"] = wanted.pop("token_embd.weight")
        del tensors["token_embd.weight"]
    if tensors.keys() != wanted.keys():
        apart = sorted(tensors.keys() ^ wanted.keys())
        raise ModelError(
            f"{path}: its tensors are not those of a {model.config.model_type}: {apart[0]!r} is one of "
            f"{len(apart)} that only one of them has"
        )
    for name, tensor in tensors.items():
        whole = dequantize(tensor.data, tensor.tensor_type)
        whole = whole if whole.flags.writeable else whole.copy()  # torch warns of arrays that it could not write to
        target = weights[wanted[name]]
        with torch.no_grad():
            found = torch.from_numpy(whole).view(target.shape)
            target.copy_(with_rows_for("transformers", wanted[name], found, model.config))
