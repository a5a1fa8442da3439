"""Making the models of the rows: blend, part, training. What is done is found again, a killed training goes on."""

from __future__ import annotations

import json
from pathlib import Path

from rankrag.ablation.data import shared_blend, write_part
from rankrag.ablation.study import Recipe
from rankrag.blend.prepare import Report as Say
from rankrag.training.checkpoints import prune
from rankrag.training.run import train
from rankrag.training.start import ADAPTER, MODEL, RUN_FILE
from rankrag.training.step_report import Report


def made(recipe: Recipe, out: Path, *, say: Say, report: Report) -> Path:
    """Return the directory of a recipe's model, made in the folder of the study if it is not there yet."""
    result = result_of(recipe, out)
    if result.is_dir():
        return result
    start = recipe.train.model
    if recipe.start:
        made(recipe.start, out, say=say, report=report)
        start = str(run_of(recipe.start, out))
    say(f"{recipe.name}: blend")
    part = folder_of(recipe, out) / "blend"
    write_part(recipe, shared_blend(recipe.blend, out / "blends", say), part)
    places = {"model": start, "blend": str(part), "out": str(run_of(recipe, out))}
    say(f"{recipe.name}: training, {recipe.train.max_steps} steps")
    result = train(recipe.train.model_copy(update=places), say=say, report=report)
    prune(run_of(recipe, out), keep=0)  # a study has many runs, and a checkpoint is three times its adapter
    return result


def examples_seen(recipe: Recipe, out: Path) -> int:
    """Return how many examples a made model was trained on, those of its start among them."""
    record = json.loads((run_of(recipe, out) / RUN_FILE).read_text(encoding="utf-8"))
    own: int = sum(record["examples"].values())
    return own + (examples_seen(recipe.start, out) if recipe.start else 0)


def folder_of(recipe: Recipe, out: Path) -> Path:
    """Return the folder of a recipe's data and run."""
    return out / "models" / f"{recipe.name}-{recipe.digest}"


def run_of(recipe: Recipe, out: Path) -> Path:
    """Return the run folder of a recipe's training."""
    return folder_of(recipe, out) / "run"


def result_of(recipe: Recipe, out: Path) -> Path:
    """Return where the model of a finished training is; it appears there whole."""
    return run_of(recipe, out) / (MODEL if recipe.train.method == "full" else ADAPTER)
