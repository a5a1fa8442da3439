"""Weights and tokenizer from a model directory, an adapter on its base, or the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from rankrag.errors import ModelError, RankragError, first_line
from rankrag.models.base_hash import check_base
from rankrag.models.mini import made_anew, resolve_model

if TYPE_CHECKING:
    import torch
    from torch import nn


def load_tokenizer(name: str) -> Any:
    """Return the tokenizer of a model directory or hub id; `ModelError` says why it cannot be loaded."""
    try:
        return AutoTokenizer.from_pretrained(name)
    except Exception as error:  # transformers raises many kinds for a missing or broken tokenizer
        reason = first_line(error)[:200]
        raise ModelError(f"{name}: its tokenizer cannot be loaded ({reason}); {_remedy(Path(name))}") from error


def load_weights(name: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """Return tokenizer and causal language model of that name; an adapter is merged into its base in memory.

    `ModelError` says what cannot be loaded, and why; `ContractError` that the base is not the adapter's. A prepared
    rankrag-mini that cannot be loaded because its files were damaged is made anew.
    """
    try:
        return _loaded(name, dtype)
    except ModelError:
        if not made_anew(Path(name)):
            raise
        return _loaded(name, dtype)


def layers_of(model: nn.Module) -> nn.ModuleList:
    """Return the decoder layers of a model: the longest list of modules in it."""
    from torch import nn

    return max((m for m in model.modules() if isinstance(m, nn.ModuleList)), key=len)


def _loaded(name: str, dtype: torch.dtype) -> tuple[Any, Any]:
    transformers_logging.disable_progress_bar()
    directory = Path(name)
    adapted = directory / "adapter_config.json"
    if directory.is_dir() and not adapted.is_file() and not (directory / "config.json").is_file():
        raise ModelError(f"{name}: no config.json in it; --model takes a Hugging Face model directory or a hub id")
    tokenizer = load_tokenizer(name)
    from transformers import AutoModelForCausalLM  # brings torch, which a tokenizer alone does not need

    try:
        if not adapted.is_file():
            return tokenizer, AutoModelForCausalLM.from_pretrained(name, dtype=dtype)
        from peft import PeftModel  # seconds of import that a merged model need not pay

        of = json.loads(adapted.read_text(encoding="utf-8"))["base_model_name_or_path"]
        check_base(directory, of, resolve_model(of))
        base = AutoModelForCausalLM.from_pretrained(resolve_model(of), dtype=dtype)
        return tokenizer, PeftModel.from_pretrained(base, name).merge_and_unload()
    except RankragError:
        raise
    except Exception as error:  # likewise
        raise ModelError(
            f"{name}: the model cannot be loaded ({first_line(error)[:200]}); {_remedy(directory)}"
        ) from error


def _remedy(directory: Path) -> str:
    if directory.is_dir():
        return "the directory must hold a causal language model with its tokenizer, as save_pretrained writes them"
    return "check the name; a hub id needs a network connection or a filled cache"
