"""The start of a run: a model, an adapter, or the run folder of an earlier stage."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model, prepare_model_for_kbit_training
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig
from transformers.pytorch_utils import Conv1D

from rankrag.config.training import LoraSettings, TrainConfig
from rankrag.contract import load_contract
from rankrag.errors import ConfigError, MissingExtraError, first_line
from rankrag.models import loading
from rankrag.models.family import is_known
from rankrag.models.loading import base_sha256, check_base, layers_of, remedy
from rankrag.models.prepared import resolve_model
from rankrag.templates import Format
from rankrag.training.attention import implementation

RUN_FILE, ADAPTER_CONFIG = "run.json", "adapter_config.json"
ADAPTER, MODEL = "adapter", "model"
"""Folders of the results in a run folder: an adapter, and a whole model."""


@dataclass(frozen=True, slots=True)
class Start:
    """A base, and possibly an adapter to go on from.

    `base` is a directory or hub id; `name` is the user's name for it, which a new adapter records. `tokenizer_sha256`
    is the fingerprint that the earlier stage recorded, `format` that of its prompts (None without a contract).
    """

    base: str
    name: str
    adapter: Path | None = None
    base_sha256: str = ""
    tokenizer_sha256: str = ""
    format: Format | None = None

    @property
    def tokenizer(self) -> str:
        """Directory or hub id of the tokenizer: the adapter's, or its base's if the adapter has none."""
        own = self.adapter is not None and (self.adapter / "tokenizer_config.json").is_file()
        return str(self.adapter) if own else self.base


def find_start(config: TrainConfig, say: Callable[[str], None] = lambda _: None) -> Start:
    """Return the start that `config.model` names.

    After a stage that trained an adapter, an adapter run goes on with that adapter and a full run with base and adapter
    merged. `ConfigError` for the folder of an unfinished stage, `ContractError` for an adapter on another base.
    """
    directory, recorded = Path(config.model), ""
    if (directory / RUN_FILE).is_file():
        recorded = json.loads((directory / RUN_FILE).read_text(encoding="utf-8"))["tokenizer_sha256"]
        preferred = (MODEL, ADAPTER) if config.method == "full" else (ADAPTER, MODEL)
        results = [directory / name for name in preferred if (directory / name).is_dir()]
        if not results:
            raise ConfigError(f"model: {directory} holds a run that is not finished; end it with `rankrag train`")
        directory = results[0]
    adapter = directory if (directory / ADAPTER_CONFIG).is_file() else None
    name = adapter_base(adapter) if adapter else str(directory) if directory.is_dir() else config.model
    base = resolve_model(name, say)
    # not of `config.model`, which may be the name of a packaged model
    contract = load_contract(adapter or Path(base))
    if adapter:
        check_base(adapter, name, base)
        sha256 = contract.base_sha256 if contract else ""
    else:
        sha256 = "" if config.method == "full" and directory.is_dir() else base_sha256(name, base)
    return Start(base, name, adapter, sha256, recorded, contract.format if contract else None)


def adapter_base(adapter: Path) -> str:
    """Return the name of the base that an adapter's directory records."""
    return str(json.loads((adapter / ADAPTER_CONFIG).read_text("utf-8"))["base_model_name_or_path"])


def skeleton(name: str) -> Any:
    """Return a model without its weights; `ConfigError` if its configuration cannot be read."""
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(name))
    except Exception as error:  # transformers raises many kinds for a missing or broken configuration
        reason = f"{first_line(error)[:200]}); {remedy(Path(name))}"
        raise ConfigError(f"model: the model of {name} cannot be opened ({reason}") from error


def may_be_on_hub(name: str) -> bool:
    """Whether a model's name can be a hub's, and is neither a directory here nor one of our own models."""
    return not is_known(name) and re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) is not None and not Path(name).exists()


def padded_tokenizer(name: str, pad_token: str | None) -> Any:
    """Return a tokenizer; `pad_token` is its padding token if it has none."""
    tokenizer = loading.load_tokenizer(name)
    if tokenizer.pad_token is None and pad_token in tokenizer.get_vocab():
        tokenizer.pad_token = pad_token
    return tokenizer


def tokenizer_fingerprint(tokenizer: Any) -> str:
    """Return a hash of a tokenizer's words with their ids."""
    return hashlib.sha256(json.dumps(sorted(tokenizer.get_vocab().items())).encode()).hexdigest()


def load_model(config: TrainConfig, start: Start, *, bf16: bool) -> Any:
    """Return the model to train: all its weights trainable, or the frozen base with a trainable adapter.

    Weights that are trained are kept in float32 and computed in bfloat16: at the paper's rates a step changes a weight
    by less than bfloat16 can tell. A frozen base is bfloat16.
    """
    half = bf16 and config.method != "full"
    base = AutoModelForCausalLM.from_pretrained(
        start.base,
        dtype=torch.bfloat16 if half else torch.float32,
        attn_implementation=implementation(compiled=config.compile),
        quantization_config=_four_bits() if config.method == "qlora" else None,
    )
    base.config.use_cache = False
    if config.method == "qlora":
        base = prepare_model_for_kbit_training(base, use_gradient_checkpointing=config.gradient_checkpointing)
    return _trainable(config, start, base)


def new_adapter(settings: LoraSettings, model: nn.Module) -> LoraConfig:
    """Return PEFT's description of a new adapter for this model, whose weights are not needed."""
    return LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=top_modules(settings, model) or list(settings.target_modules) or "all-linear",
        task_type="CAUSAL_LM",
    )


def top_modules(settings: LoraSettings, model: nn.Module) -> list[str]:
    """Return the whole names of the adapted modules in the top layers, if only these are adapted."""
    if settings.top_layers is None:
        return []
    layers = list(layers_of(model))
    inside = {module for layer in layers[-settings.top_layers :] for module in layer.modules()}
    linear = [name for name, m in model.named_modules() if m in inside and isinstance(m, nn.Linear | Conv1D)]
    wanted = settings.target_modules
    return [name for name in linear if not wanted or f".{name}".endswith(tuple(f".{end}" for end in wanted))]


def tune(config: TrainConfig, model: Any) -> None:
    """Set a causal model's layers to be computed as configured: with checkpointing, compiled."""
    if config.gradient_checkpointing:
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable()
    if config.compile:
        torch._dynamo.config.recompile_limit = 32  # three shapes, with and without gradient into the first layer
        for layer in layers_of(model):
            layer.compile(dynamic=False)


def need_four_bits() -> None:
    """Raise unless a base can be held in 4 bits here."""
    if not torch.cuda.is_available():
        raise ConfigError("method: qlora needs a CUDA device; use lora here")
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingExtraError('method: qlora needs bitsandbytes; run: pip install "rankrag[qlora]"')


def _four_bits() -> BitsAndBytesConfig:
    need_four_bits()
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )


def _trainable(config: TrainConfig, start: Start, base: Any) -> Any:
    if start.adapter is not None:
        loading.untie(base, (start.adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        model = PeftModel.from_pretrained(base, str(start.adapter), is_trainable=config.method != "full")
        return model.merge_and_unload().requires_grad_(True) if config.method == "full" else model
    if config.method == "full":
        return base
    torch.manual_seed(config.seed)
    adapter = new_adapter(config.lora, base)
    targets = adapter.target_modules
    loading.untie(base, json.dumps({"target_modules": targets if isinstance(targets, str) else list(targets or ())}))
    return get_peft_model(base, adapter)
