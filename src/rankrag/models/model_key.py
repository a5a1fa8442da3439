"""Digests that tell models apart, so that no journal is used for another model."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from rankrag.models import LanguageModel

FITTED = {"abstain_below", "similarity_weight", "settled_from", "similarity_encoder", "history_query", "k"}
"""Fields of a contract that are fitted after training and change no prompt."""


def model_key(model: LanguageModel, name: str) -> str:
    """Return a short digest of what a model's replies and P(True) depend on: its prompts and its weights.

    Fitted values (`FITTED`) change neither. The weights of a folder are told apart by samples of their bytes, others by
    their name.
    """
    prompts = {name: value for name, value in asdict(model.contract).items() if name not in FITTED}
    folder = Path(name)
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    weights = [[path.stat().st_size, _sampled_digest(path)] for path in files] if folder.is_dir() else name
    # number types hardly move scores, and share a journal
    return hashlib.sha256(json.dumps([prompts, weights], sort_keys=True).encode()).hexdigest()[:12]


def ranker_key(kind: str, name: str) -> str:
    """Return the name of a ranker's folder: its kind, with a digest of its name and of its folder's files."""
    files = sorted(Path(name).glob("*.safetensors")) if Path(name).is_dir() else []
    parts = repr([name, *((path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files)])
    return f"{kind}-{hashlib.sha256(parts.encode()).hexdigest()[:12]}"


def _sampled_digest(path: Path, places: int = 1024, block: int = 4096) -> str:
    """Return a digest of blocks at even distances of a file: training changes all, and gigabytes are not read."""
    digest = hashlib.sha256()
    step = max(block, path.stat().st_size // places)
    with path.open("rb") as file:
        while piece := file.read(block):
            digest.update(piece)
            file.seek(step - block, 1)
    return digest.hexdigest()
