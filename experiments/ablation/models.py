"""Making the model of a recipe: blend, part, training. Finished work is found again; a killed training resumes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from experiments.ablation.study import Recipe, kept_share
from rankrag.blend.mixture import EXAMPLES_FILE, MANIFEST_FILE, build_blend
from rankrag.data.examples import read_examples, write_examples
from rankrag.errors import ConfigError
from rankrag.opening import Say
from rankrag.training.checkpoints import prune
from rankrag.training.run import train
from rankrag.training.start import ADAPTER, MODEL
from rankrag.types import DataKind, Example


def made(recipe: Recipe, out: Path, *, say: Say, report: Callable[[int, int], None]) -> Path:
    """Return the directory of the model, made in the folder of the study unless it is there."""
    result = result_of(recipe, out)
    if result.is_dir():
        return result
    start = recipe.train.model
    if recipe.start:
        made(recipe.start, out, say=say, report=report)
        start = str(run_of(recipe.start, out))
    say(f"{recipe.name}: blend")
    blend = out / "blends" / recipe.blend_digest
    if not (blend / MANIFEST_FILE).is_file():  # the manifest comes last
        build_blend(recipe.blend, blend, say)
    part = folder_of(recipe, out) / "blend" / EXAMPLES_FILE
    if not part.is_file() and not write_examples(part, part_of(read_examples(blend / EXAMPLES_FILE), recipe)):
        raise ConfigError(f"row {recipe.name!r}: nothing is left of {blend}; keep more, or draw more `examples`")
    say(f"{recipe.name}: training, {recipe.train.max_steps} steps")
    places = {"model": start, "blend": str(part.parent), "out": str(run_of(recipe, out))}
    result = train(recipe.train.model_copy(update=places), say=say, report=report)
    prune(run_of(recipe, out), keep=0)  # a study has many runs, and a checkpoint is three times its adapter
    return result


def folder_of(recipe: Recipe, out: Path) -> Path:
    """Return the folder for the data and the run of a recipe."""
    return out / "models" / f"{recipe.name}-{recipe.digest}"


def run_of(recipe: Recipe, out: Path) -> Path:
    """Return the run folder of a training."""
    return folder_of(recipe, out) / "run"


def result_of(recipe: Recipe, out: Path) -> Path:
    """Return the directory of the model; it appears there whole when training has finished."""
    return run_of(recipe, out) / (MODEL if recipe.train.method == "full" else ADAPTER)


def part_of(examples: Iterable[Example], recipe: Recipe) -> Iterator[Example]:
    """Yield the examples that a recipe keeps, in the order of the blend."""
    kept = (e for e in examples if _place(e, recipe.seed) < kept_share(recipe.keep, e.source, e.kind))
    for example in kept:
        yield from asked_alone(example) if recipe.split_lists else (example,)


def asked_alone(example: Example) -> Iterator[Example]:
    """Yield the question of a list for each of its passages, with the same target; other examples unchanged."""
    if example.kind is not DataKind.RETRIEVAL_QA:
        yield example
        return
    for passage in example.contexts:
        yield replace(example, kind=DataKind.CONTEXT_QA, contexts=(passage,))


def _place(example: Example, seed: int) -> float:
    """Return a number in [0, 1), the same for examples of the same passages, so that rows stay as dense as they were.

    A smaller share is part of a larger one.
    """
    ids = [passage.id for passage in example.contexts] or [example.question.id]
    digest = hashlib.sha256("\0".join([str(seed), example.source, *ids]).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
