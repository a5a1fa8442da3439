"""Weights and tokenizer from a model directory, an adapter on its base, or the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from rankrag.errors import ModelError, first_line
from rankrag.models.mini import resolve_model

if TYPE_CHECKING:
    import torch


def load_tokenizer(name: str) -> Any:
    """Return the tokenizer of a model directory or hub id; `ModelError` says why it cannot be loaded."""
    try:
        return AutoTokenizer.from_pretrained(name)
    except Exception as error:  # transformers raises many kinds for a missing or broken tokenizer
        reason = first_line(error)[:200]
        raise ModelError(f"{name}: its tokenizer cannot be loaded ({reason}); {_remedy(Path(name))}") from error


def load_weights(name: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """Return tokenizer and causal language model of that name; an adapter is merged into its base in memory.

    `ModelError` says what cannot be loaded, and why.
    """
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

        base = AutoModelForCausalLM.from_pretrained(_base_of(adapted), dtype=dtype)
        return tokenizer, PeftModel.from_pretrained(base, name).merge_and_unload()
    except Exception as error:  # likewise
        raise ModelError(
            f"{name}: the model cannot be loaded ({first_line(error)[:200]}); {_remedy(directory)}"
        ) from error


def _base_of(adapter_config: Path) -> str:
    return resolve_model(json.loads(adapter_config.read_text(encoding="utf-8"))["base_model_name_or_path"])


def _remedy(directory: Path) -> str:
    if directory.is_dir():
        return "the directory must hold a causal language model with its tokenizer, as save_pretrained writes them"
    return "check the name; a hub id needs a network connection or a filled cache"
