"""The model card that a run writes: what the model is for, its recipe, its data and their licences."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData

from rankrag.blend.licences import hub_licence, most_restrictive
from rankrag.blend.mixture import MANIFEST_FILE
from rankrag.config.training import TrainConfig
from rankrag.contract import Contract
from rankrag.models.family import bases
from rankrag.training.start import may_be_on_hub

_TEMPLATE = Path(__file__).with_name("card.md")


def model_card(config: TrainConfig, record: Mapping[str, Any], contract: Contract) -> str:
    """Return the card as Markdown with a YAML head; data and licences come from the blend's manifest.

    `record` is the run's `run.json`.
    """
    sources = _sources(Path(config.blend) / MANIFEST_FILE)
    licences = {name: found.get("licence") or "" for name, found in sources.items()}
    strictest = most_restrictive(licences.values())
    base = record["base"]
    # the base's licence, unless the data's allows less
    licence = hub_licence(most_restrictive([bases()[base].licence, strictest])) if base in bases() else "other"
    head = ModelCardData(
        library_name="transformers",
        pipeline_tag="text-generation",
        license=licence,
        tags=["rankrag", "retrieval-augmented-generation", "reranking"],
        base_model=base if may_be_on_hub(base) else None,  # the hub takes no card that names another base
    )
    card = ModelCard.from_template(
        head,
        template_path=str(_TEMPLATE),
        name=Path(config.out).name,
        config=config,
        record=record,
        contract=contract,
        sources=sources,
        strictest=strictest,
        strict_sources=", ".join(name for name, licence in licences.items() if licence == strictest),
        counts=lambda examples: ", ".join(f"{count} {kind}" for kind, count in examples.items()),
    )
    return f"{card}\n"


def _sources(manifest: Path) -> dict[str, Any]:
    if not manifest.is_file():
        return {}
    found = json.loads(manifest.read_text(encoding="utf-8")).get("sources", {})
    return dict(found) if isinstance(found, dict) else {}
