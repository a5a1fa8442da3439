"""Weights and tokenizer from a model directory, an adapter on its base, or the hub."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from rankrag.contract import ScoreType, load_contract
from rankrag.data.files import sha256
from rankrag.encoding import PromptEncoder, default_contract
from rankrag.errors import ContractError, ModelError, RankragError, first_line
from rankrag.models.family import bases, is_known
from rankrag.models.prepared import made_anew, prepared_dir, resolve_model

if TYPE_CHECKING:
    import torch
    from torch import nn


def load_tokenizer(name: str) -> Any:
    """Return the tokenizer of a model directory or hub id; `ModelError` says why it cannot be loaded."""
    try:
        return AutoTokenizer.from_pretrained(name)
    except Exception as error:  # transformers raises many kinds for a missing or broken tokenizer
        reason = first_line(error)[:200]
        raise ModelError(f"{name}: its tokenizer cannot be loaded ({reason}); {remedy(Path(name))}") from error


def prompt_encoder(directory: str, score: ScoreType | None = None) -> PromptEncoder:
    """Return the encoder of a directory's tokenizer and contract, or of the default contract; `score` overrides its."""
    tokenizer = load_tokenizer(directory)
    contract = load_contract(Path(directory)) or default_contract(tokenizer)
    return PromptEncoder(tokenizer, replace(contract, score=score or contract.score))


def load_weights(name: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """Return tokenizer and causal language model of that name; an adapter is merged into its base in memory.

    `ModelError` says what cannot be loaded, and why; `ContractError` that the base is not the adapter's. A prepared
    model that cannot be loaded because its files were damaged is made again.
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


def untie(model: Any, adapter: str) -> None:
    """Give the output layer weights of its own if an adapter of a tied model changes it or the input embeddings.

    Otherwise merging would add to both what was trained on one of them. `adapter` is PEFT's configuration in JSON.
    """
    if not getattr(model.config.get_text_config(), "tie_word_embeddings", False):
        return
    from torch import nn

    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    names = [name for name, module in model.named_modules() if module in ends]
    settings = json.loads(adapter)
    if not any(_changes(settings, name) for name in names):
        return
    output = model.get_output_embeddings()
    output.weight = nn.Parameter(output.weight.detach().clone(), requires_grad=output.weight.requires_grad)
    model.config.get_text_config().tie_word_embeddings = model.config.tie_word_embeddings = False


def _changes(settings: dict[str, Any], name: str) -> bool:
    """Whether an adapter with these settings changes the module of this name."""
    targets = settings.get("target_modules") or []
    if isinstance(targets, str):
        return targets != "all-linear" and re.fullmatch(targets, name) is not None
    listed = [*targets, *(settings.get("modules_to_save") or []), *(settings.get("trainable_token_indices") or {})]
    return any(name == target or name.endswith(f".{target}") for target in listed if isinstance(target, str))


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
        resolved = resolve_model(of)
        check_base(directory, of, resolved)
        base = AutoModelForCausalLM.from_pretrained(resolved, dtype=dtype)
        untie(base, adapted.read_text(encoding="utf-8"))
        return tokenizer, PeftModel.from_pretrained(base, name).merge_and_unload()
    except RankragError:
        raise
    except Exception as error:  # likewise
        raise ModelError(
            f"{name}: the model cannot be loaded ({first_line(error)[:200]}); {remedy(directory)}"
        ) from error


def remedy(directory: Path) -> str:
    """Return what to do about a model that cannot be opened from there."""
    if directory.is_dir():
        return "the directory must hold a causal language model with its tokenizer, as save_pretrained writes them"
    return "check the name; a hub id needs a network connection or a filled cache"


def base_sha256(name: str, resolved: str) -> str:
    """Return the hash of a base by the name a user gave it and the directory it stands for; empty if it has none.

    A base of ours has the hash of its GGUF file, another directory that of its weights in the order of their names. A
    model on a hub has none, nor has a member of the family, which is merged on each machine.
    """
    directory = Path(resolved)
    ours = next((base for base in bases().values() if name == base.name or directory == prepared_dir(base.name)), None)
    if ours is not None:
        return ours.sha256
    if is_known(name) or not directory.is_dir():
        return ""
    weights = sorted(directory.glob("*.safetensors")) or sorted(directory.glob("pytorch_model*.bin"))
    return sha256(*weights) if weights else ""


def check_base(adapter: Path, name: str, resolved: str) -> None:
    """Raise `ContractError` if the adapter's contract names other weights: on them it is noise that still scores."""
    contract = load_contract(adapter)
    if contract is None or not contract.base_sha256:
        return
    found = base_sha256(name, resolved)
    if found not in ("", contract.base_sha256):
        raise ContractError(
            f"{adapter}: its base {resolved} has weights {found[:16]}…, the adapter was trained on "
            f"{contract.base_sha256[:16]}…; name that base in adapter_config.json, or train the adapter again"
        )
