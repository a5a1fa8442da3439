"""A row's part of the blend that all rows share."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from rankrag.ablation.study import Recipe, blend_digest, kept_share
from rankrag.blend.mixture import EXAMPLES_FILE, MANIFEST_FILE, build_blend
from rankrag.blend.prepare import Report
from rankrag.config.blend import BlendConfig
from rankrag.data.examples import read_examples, write_examples
from rankrag.data.files import write_whole
from rankrag.errors import ConfigError
from rankrag.types import DataKind, Example

RELEVANT = "True"


def shared_blend(config: BlendConfig, folder: Path, report: Report) -> Path:
    """Return the folder of a blend, built if it is not there yet; its manifest, which comes last, says that it is."""
    out = folder / blend_digest(config)
    if not (out / MANIFEST_FILE).is_file():
        build_blend(config, out, report)
    return out


def write_part(recipe: Recipe, blend: Path, out: Path) -> None:
    """Write a recipe's part of a blend into `out`, with a manifest of its own; done already, it stays as it is."""
    if (out / MANIFEST_FILE).is_file():
        return
    out.mkdir(parents=True, exist_ok=True)
    counts: dict[str, Counter[str]] = {}

    def counted() -> Iterator[Example]:
        for example in part_of(read_examples(blend / EXAMPLES_FILE), recipe):
            counts.setdefault(example.source, Counter())[str(example.kind)] += 1
            yield example

    total = write_examples(out / EXAMPLES_FILE, counted())
    if not total:
        raise ConfigError(f"row {recipe.name!r}: nothing is left of {blend}; keep more, or draw more `examples`")
    manifest = json.loads((blend / MANIFEST_FILE).read_text(encoding="utf-8"))
    of_sources = {
        name: entry | {"examples": dict(sorted(counts[name].items()))}
        for name, entry in manifest["sources"].items()
        if name in counts
    }
    part = {"examples": total, "part_of": manifest["sha256"], "keep": dict(recipe.keep), "sources": of_sources}
    write_whole(out / MANIFEST_FILE, json.dumps(part, indent=1, ensure_ascii=False) + "\n")


def part_of(examples: Iterable[Example], recipe: Recipe) -> Iterator[Example]:
    """Yield what a recipe keeps, in the order of the blend."""
    kept = (e for e in examples if _place(e, recipe.seed) < kept_share(recipe.keep, e.source, e.kind))
    for example in kept if recipe.candidates is None else few_candidates(kept, recipe.candidates):
        yield from asked_alone(example) if recipe.split_lists else (example,)


def few_candidates(examples: Iterable[Example], most: int) -> Iterator[Example]:
    """Yield all but the ranking examples of a question beyond `most`; relevant passages are the last to go."""
    found = list(examples)
    places = [place for place, e in enumerate(found) if e.kind is DataKind.CONTEXT_RANKING]
    places.sort(key=lambda place: found[place].target != RELEVANT)
    room: Counter[tuple[str, str]] = Counter()
    beyond = set()
    for place in places:
        question = (found[place].source, found[place].question.id)
        room[question] += 1
        if room[question] > most:
            beyond.add(place)
    yield from (example for place, example in enumerate(found) if place not in beyond)


def asked_alone(example: Example) -> Iterator[Example]:
    """Yield the question of a list asked of each of its passages, with the same target; any other example as it is."""
    if example.kind is not DataKind.RETRIEVAL_QA:
        yield example
        return
    for passage in example.contexts:
        yield replace(example, kind=DataKind.CONTEXT_QA, contexts=(passage,))


def _place(example: Example, seed: int) -> float:
    """Return a number in [0, 1) that examples of the same passages share, so that rows stay as dense as they were.

    A smaller share is part of a larger one.
    """
    of = [passage.id for passage in example.contexts] or [example.question.id]
    digest = hashlib.sha256("\0".join([str(seed), example.source, *of]).encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48
