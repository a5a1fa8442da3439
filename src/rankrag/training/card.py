"""The model card that a run writes: what the model is for, its recipe, its data and their licences."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from rankrag.blend.licences import hub_licence, most_restrictive
from rankrag.config.training import TrainConfig
from rankrag.contract import Contract
from rankrag.models.family import bases
from rankrag.training.batches import Step
from rankrag.training.start import may_be_on_hub

_USE = """## Use

```
rankrag ask "…" --index my.index --model {model}
```

The prompts it was trained with and how its scores are read stand in `rankrag_config.json`, which rankrag follows."""


def model_card(config: TrainConfig, record: Mapping[str, Any], steps: Sequence[Step], contract: Contract) -> str:
    """Return the card as Markdown with a YAML head; data and licences come from the blend's manifest."""
    sources = _sources(Path(config.blend) / "manifest.json")
    strictest = most_restrictive(found.get("licence") or "" for found in sources.values())
    head: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "license": _hub_licence(record["base"], strictest),
        "tags": ["rankrag", "retrieval-augmented-generation", "reranking"],
    }
    if may_be_on_hub(record["base"]):  # the hub takes no card that names another base
        head["base_model"] = record["base"]
    parts = [
        f"---\n{yaml.safe_dump(head, sort_keys=False)}---",
        f"# {Path(config.out).name}",
        "One language model that ranks passages and answers from them, trained with rankrag "
        f"{record['versions']['rankrag']} after RankRAG (arXiv 2407.02485).",
        _USE.format(model=Path(config.out).name),
        _recipe(config, record, steps, contract),
        _data(record, sources),
        "## Limits\n\nIt answers from the passages it is given, and can be wrong about them. No evaluation is part of "
        "this card; `rankrag evaluate` makes one.",
    ]
    return "\n\n".join(parts) + "\n"


def _hub_licence(base: str, of_data: str) -> str:
    """Return what the model may be used under as the hub names it: `other` where the base's licence is not known.

    It is the base's unless the data's allows less.
    """
    known = bases().get(base)
    return hub_licence(most_restrictive([known.licence, of_data])) if known else "other"


def _recipe(config: TrainConfig, record: Mapping[str, Any], steps: Sequence[Step], contract: Contract) -> str:
    examples = sum(step.examples for step in steps)
    method = {"full": "all weights", "lora": f"LoRA, rank {config.lora.r}", "qlora": f"QLoRA, rank {config.lora.r}"}
    rows = {
        "start": config.model,
        "trained": method[config.method],
        "steps": f"{len(steps)}, {examples / len(steps):.1f} examples each",
        "peak learning rate": f"{config.learning_rate:g}, {config.schedule}",
        "ranking loss": config.ranking_loss,
        "prompt": f"{contract.format.turns.name}, {contract.format.layout}",
        "seed": str(config.seed),
        "blend": f"sha256 {record['blend_sha256'][:16]}",
        "versions": ", ".join(f"{name} {number}" for name, number in record["versions"].items()),
    }
    return "## Recipe\n\n| | |\n|---|---|\n" + "\n".join(f"| {name} | {value} |" for name, value in rows.items())


def _data(record: Mapping[str, Any], sources: Mapping[str, Any]) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in record["examples"].items())
    lines = [f"## Data\n\nExamples seen: {kinds}.", "| source | licence | examples |\n|---|---|---|"]
    for name, found in sources.items():
        counts = ", ".join(f"{count} {kind}" for kind, count in found.get("examples", {}).items())
        lines[1] += f"\n| {name} | {found.get('licence') or 'not stated'} | {counts} |"
    if not sources:
        lines[1] = "The blend has no manifest, so its sources and their licences are not known."
        return "\n\n".join(lines)
    strictest = most_restrictive(found.get("licence") or "" for found in sources.values())
    of = ", ".join(name for name, found in sources.items() if (found.get("licence") or "") == strictest)
    lines.append(f"The most restrictive licence of them: {strictest or 'not stated'} ({of}). The base has its own.")
    return "\n\n".join(lines)


def _sources(manifest: Path) -> dict[str, Any]:
    if not manifest.is_file():
        return {}
    found = json.loads(manifest.read_text(encoding="utf-8")).get("sources", {})
    return dict(found) if isinstance(found, dict) else {}
