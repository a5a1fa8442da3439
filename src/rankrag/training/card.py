"""The model card that a run writes: what the model is for, its recipe, its data and their licences."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from rankrag.blend.licences import hub_licence, most_restrictive
from rankrag.blend.mixture import MANIFEST_FILE
from rankrag.config.training import TrainConfig
from rankrag.contract import Contract
from rankrag.models.family import bases
from rankrag.training.start import may_be_on_hub

_USE = """## Use

```
rankrag ask "…" --index my.index --model {model}
```

The prompts it was trained with and how its scores are read stand in `rankrag_config.json`, which rankrag follows."""

_LIMITS = """## Limits

It answers from the passages it is given, and can be wrong about them. No evaluation is part of this card; `rankrag
evaluate` makes one."""


def model_card(config: TrainConfig, record: Mapping[str, Any], contract: Contract) -> str:
    """Return the card as Markdown with a YAML head; data and licences come from the blend's manifest.

    `record` is the run's `run.json`.
    """
    sources = _sources(Path(config.blend) / MANIFEST_FILE)
    strictest = most_restrictive(found.get("licence") or "" for found in sources.values())
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
    name = Path(config.out).name
    parts = [
        f"---\n{head.to_yaml()}\n---",
        f"# {name}",
        "One language model that ranks passages and answers from them, trained with rankrag "
        f"{record['versions']['rankrag']} after RankRAG (arXiv 2407.02485).",
        _USE.format(model=name),
        _recipe(config, record, contract),
        *_data(record, sources, strictest),
        _LIMITS,
    ]
    return "\n\n".join(parts) + "\n"


def _recipe(config: TrainConfig, record: Mapping[str, Any], contract: Contract) -> str:
    method = {"full": "all weights", "lora": f"LoRA, rank {config.lora.r}", "qlora": f"QLoRA, rank {config.lora.r}"}
    mean = sum(record["examples"].values()) / record["steps"]
    rows = {
        "start": config.model,
        "trained": method[config.method],
        "steps": f"{record['steps']}, {mean:.1f} examples each",
        "peak learning rate": f"{config.learning_rate:g}, {config.schedule}",
        "prompt": f"{contract.format.turns.name}, {contract.format.layout}",
        "seed": str(config.seed),
        "blend": f"sha256 {record['blend_sha256'][:16]}",
        "versions": ", ".join(f"{name} {number}" for name, number in record["versions"].items()),
    }
    return "## Recipe\n\n| | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in rows.items())


def _data(record: Mapping[str, Any], sources: Mapping[str, Any], strictest: str) -> list[str]:
    seen = f"## Data\n\nExamples seen: {_counts(record['examples'])}."
    if not sources:
        return [seen, "The blend has no manifest, so its sources and their licences are not known."]
    rows = ["| source | licence | examples |", "|---|---|---|"]
    rows += [
        f"| {name} | {found.get('licence') or 'not stated'} | {_counts(found.get('examples', {}))} |"
        for name, found in sources.items()
    ]
    of = ", ".join(name for name, found in sources.items() if (found.get("licence") or "") == strictest)
    least = f"The most restrictive licence of them: {strictest or 'not stated'} ({of}). The base has its own."
    return [seen, "\n".join(rows), least]


def _counts(examples: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in examples.items())


def _sources(manifest: Path) -> dict[str, Any]:
    if not manifest.is_file():
        return {}
    found = json.loads(manifest.read_text(encoding="utf-8")).get("sources", {})
    return dict(found) if isinstance(found, dict) else {}
