"""The run folder: everything needed to repeat the run, and its results."""

from __future__ import annotations

import json
import platform
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import yaml
from peft import PeftModel
from safetensors import SafetensorError

from rankrag.blend.mixture import MANIFEST_FILE
from rankrag.config.training import TrainConfig
from rankrag.contract import save_contract
from rankrag.data.files import sha256, write_whole
from rankrag.errors import ConfigError, ModelError, first_line, writing
from rankrag.training.batches import Step
from rankrag.training.card import model_card
from rankrag.training.checkpoints import newest_checkpoint
from rankrag.training.checks import CheckedRun
from rankrag.training.start import ADAPTER, MODEL, RUN_FILE, tokenizer_fingerprint
from rankrag.types import DataKind

CONFIG_FILE = "config.yaml"
LOG_FILE = "log.json"

_PACKAGES = ("rankrag", "torch", "transformers", "peft", "accelerate", "safetensors")
_FREE = {"out", "compile", "save_steps", "keep_checkpoints", "merge"}
"""Fields that may change while a run goes on."""


def check_same_run(config: TrainConfig, out: Path) -> None:
    """Raise `ConfigError` if `out` holds checkpoints of a run with another configuration."""
    if not (out / CONFIG_FILE).is_file() or newest_checkpoint(out) is None:
        return
    before = yaml.safe_load((out / CONFIG_FILE).read_text(encoding="utf-8"))
    now = config.model_dump(mode="json")
    changed = [name for name in now if name not in _FREE and now[name] != before.get(name)]
    if changed:
        listed = ", ".join(f"{name} {before.get(name)!r} → {now[name]!r}" for name in changed)
        raise ConfigError(
            f"{out} holds a run with another configuration ({listed}); choose another `out`, or start over with --fresh"
        )


def open_folder(config: TrainConfig, prepared: CheckedRun, steps: Sequence[Step]) -> None:
    """Write the resolved configuration, and `run.json`: the blend's hash, versions, seed, and examples by kind."""
    settings = config.model_dump(mode="json")
    kinds = sum((step.kinds for step in steps), Counter[DataKind]())
    manifest = Path(config.blend) / MANIFEST_FILE
    record = {
        "method": config.method,
        "base": prepared.start.name,
        "base_sha256": prepared.start.base_sha256,
        "from_adapter": str(prepared.start.adapter) if prepared.start.adapter else None,
        "tokenizer_sha256": tokenizer_fingerprint(prepared.tokenizer),
        "blend_sha256": sha256(prepared.examples),
        "blend_manifest_sha256": sha256(manifest) if manifest.is_file() else None,
        "seed": config.seed,
        "steps": len(steps),
        "examples": {kind.value: count for kind, count in sorted(kinds.items())},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
    }
    out = Path(config.out)
    with _writing(out):
        write_whole(out / CONFIG_FILE, yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
        _write_json(out / RUN_FILE, record)


def write_log(out: Path, history: list[dict[str, float]]) -> None:
    """Write the log so far."""
    with _writing(out):
        _write_json(out / LOG_FILE, history)


def save_results(
    model: Any, config: TrainConfig, prepared: CheckedRun, weights: Mapping[str, torch.Tensor] | None = None
) -> Path:
    """Write adapter or model in half precision, each with tokenizer, contract and card; return the main one's folder.

    Each appears in the run folder whole. `weights` are given if the model is in shards.
    """
    out = Path(config.out)
    with _writing(out):
        card = model_card(config, json.loads((out / RUN_FILE).read_text("utf-8")), prepared.encoder.contract)
        if not isinstance(model, PeftModel):
            return _save(out / MODEL, model, prepared, card, weights)
        model.peft_config["default"].base_model_name_or_path = prepared.start.name
        adapter = _save(out / ADAPTER, model, prepared, card)
        if config.merge:
            _save(out / MODEL, model.merge_and_unload(), prepared, card)
        return adapter


def _save(
    directory: Path, model: Any, prepared: CheckedRun, card: str, weights: Mapping[str, torch.Tensor] | None = None
) -> Path:
    partial = directory.with_name(f"{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    if isinstance(model, PeftModel):
        trained = {k: v.to(torch.float16) for k, v in model.state_dict().items() if "lora_" in k}
        # else peft asks the hub whether the base's vocabulary was resized, and "rankrag-mini-base" is on no hub
        model.save_pretrained(partial, state_dict=trained, save_embedding_layers=False)
    elif weights is not None:
        tied = set(model.all_tied_weights_keys)
        half = {name: w.to(torch.bfloat16) for name, w in weights.items() if name not in tied}
        model.config.dtype = torch.bfloat16
        model.save_pretrained(partial, state_dict=half)
    else:
        model.to(torch.bfloat16).save_pretrained(partial)
    prepared.tokenizer.save_pretrained(partial)
    save_contract(prepared.encoder.contract, partial)
    (partial / "README.md").write_text(card, encoding="utf-8")
    shutil.rmtree(directory, ignore_errors=True)
    partial.rename(directory)
    return directory


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    with writing(out, ModelError, "the same command goes on from the newest checkpoint"):
        try:
            yield
        except SafetensorError as error:  # how safetensors reports a full disk
            raise OSError(None, first_line(error)) from error


def _write_json(path: Path, value: object) -> None:
    write_whole(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")
