"""The paths on which a model can score, each to be compared with one pair at a time (`parity`)."""

from __future__ import annotations

import copy
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from rankrag.models import packing
from rankrag.models.int8 import places_for_int8, put_in_int8
from rankrag.models.state_cache import StateCache
from rankrag.models.transformers import TransformersModel
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Prompt, Question

if TYPE_CHECKING:
    from rankrag.models.openai import OpenAIModel

SIXTEEN_BITS = 1.0
"""How far scores may be apart that are computed in 16 bits, or by a server, which mostly does: twice what was seen."""

Row = tuple[float, float]
"""Log-probabilities of the two labels, relevant first."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What a path made of the prompts: a row for each, and the ids it read with the two label ids behind them."""

    rows: list[Row]
    ids: list[list[int]]


@dataclass(frozen=True, slots=True)
class ScorePath:
    """A way to score prompts. An `exact` one is held to a tolerance, its own or that of all, another is shown only."""

    name: str
    exact: bool
    score: Callable[[Sequence[Prompt]], Scored]
    tolerance: float | None = None


def paths_of(model: TransformersModel, groups: Sequence[Sequence[int]]) -> list[ScorePath]:
    """Return the paths that score with this model on this machine; `groups` are the places of each question's pairs."""

    def padded(prompts: Sequence[Prompt]) -> Scored:
        encoded = model.encoder.encode(prompts)
        rows = sorted(model.plain_logprobs(encoded, _labels(model)))
        return Scored([_row(row) for _, row in rows], _read(model, prompts))

    def shared(prompts: Sequence[Prompt]) -> Scored:
        encoded = model.encoder.encode(prompts)
        rows = sorted(model.shared_logprobs(encoded, _labels(model)))
        return Scored([_row(row) for _, row in rows], _read_shared(model, prompts))

    def known(prompts: Sequence[Prompt], states: StateCache) -> Scored:
        warm = copy.copy(model)
        warm.states = states
        _asked(warm, prompts)
        return Scored(_asked(warm, prompts), _read_shared(model, prompts))

    def on_disk(prompts: Sequence[Prompt]) -> Scored:
        with tempfile.TemporaryDirectory() as folder:
            return known(prompts, StateCache(form="float16", folder=Path(folder), memory_bytes=0))

    def alone(prompts: Sequence[Prompt]) -> Scored:
        return Scored([_asked(model, [prompt])[0] for prompt in prompts], _read(model, prompts))

    def shuffled(prompts: Sequence[Prompt]) -> Scored:
        order = random.Random(0).sample(range(len(prompts)), len(prompts))
        small = copy.copy(model)
        small.tokens_per_batch = max(1, max(map(len, model.encoder.encode(prompts))) * 2)
        rows = dict(zip(order, _asked(small, [prompts[place] for place in order]), strict=True))
        return Scored([rows[place] for place in range(len(prompts))], _read(model, prompts))

    def by_question(prompts: Sequence[Prompt]) -> Scored:
        rows = [row for places in groups for row in _asked(model, [prompts[place] for place in places])]
        return Scored(rows, _read(model, prompts))

    def beside_strangers(prompts: Sequence[Prompt]) -> Scored:
        words = max(2, model.contract.passage_tokens // 4)
        asked = Question("stranger", "is this any of our concern? " * 3)
        form = model.contract.format
        strangers = [ranking_prompt(form, asked, Passage(str(i), "stranger " * n)) for i, n in enumerate((1, words))]
        return Scored(_asked(model, [strangers[0], *prompts, strangers[1]])[1:-1], _read(model, prompts))

    found = [
        ScorePath("padded batch", True, padded),
        ScorePath("one prompt a call", True, alone),
        ScorePath("small batches, shuffled", True, shuffled),
        ScorePath("question by question", True, by_question),
        ScorePath("beside strangers", True, beside_strangers),
    ]
    (probe, *_) = [ranking_prompt(model.contract.format, Question("", "why?"), Passage("", "so"))]
    if model.can_share(model.encoder.encode([probe])):
        found.insert(1, ScorePath("prefix + tails", True, shared))
    if not model.why_no_states():
        found.append(ScorePath("kept states", True, lambda prompts: known(prompts, StateCache())))
        found.append(ScorePath("kept states, 16 bit on disk", False, on_disk))
    if model.in_int8:
        return found
    if model.model.dtype == torch.float32:
        found.append(of_model("bfloat16", bfloat16(model), exact=False))
    if (quantised := int8(model)) is not None:
        found.append(of_model("int8 weights", quantised, exact=False))
    return found


def of_model(name: str, model: TransformersModel, *, exact: bool) -> ScorePath:
    """Return the path that asks a model for all prompts at once."""
    return ScorePath(name, exact, lambda prompts: Scored(_asked(model, prompts), _read(model, prompts)))


def of_server(served: OpenAIModel, tolerance: float = SIXTEEN_BITS) -> ScorePath:
    """Return the path that asks a server, with the tokens that it is sent."""

    def asked(prompts: Sequence[Prompt]) -> Scored:
        encoded = served.encode(prompts)
        rows = served.choice_logprobs(encoded, served.contract.labels)
        ids = [one.ids + list(served.contract.label_ids) for one in encoded]
        return Scored([_row(row) for row in rows], ids)

    return ScorePath(f"server, {served.kind}", True, asked, tolerance)


def bfloat16(model: TransformersModel) -> TransformersModel:
    """Return the model in bfloat16, which "auto" takes where the hardware has it."""
    half = _copied(model)
    for weight in half.model.parameters():  # not the angles of positions, which are float32 in any number type
        weight.data = weight.data.bfloat16()
    return half


def int8(model: TransformersModel) -> TransformersModel | None:
    """Return the model with its weights in eight bits, or None where it has no layers that can be."""
    if not places_for_int8(model.model):
        return None
    quantised = _copied(model)
    quantised.in_int8 = put_in_int8(quantised.model) > 0
    return quantised


def _copied(model: TransformersModel) -> TransformersModel:
    """Return the model with weights of its own, and without states: those that are kept are the other's."""
    twin = copy.copy(model)
    twin.model = copy.deepcopy(model.model)
    twin.states = None
    return twin


def _asked(model: TransformersModel, prompts: Sequence[Prompt]) -> list[Row]:
    return [_row(row) for row in model.choice_logprobs(model.encode(prompts), model.contract.labels)]


def _labels(model: TransformersModel) -> list[int]:
    return model._ids_of(model.contract.labels)


def _read(model: TransformersModel, prompts: Sequence[Prompt]) -> list[list[int]]:
    return [encoded.ids + _labels(model) for encoded in model.encoder.encode(prompts)]


def _read_shared(model: TransformersModel, prompts: Sequence[Prompt]) -> list[list[int]]:
    root, rows = packing.share(model.encoder.encode(prompts))
    read = {p: [*root, *row.prefix, *tail] for row in rows for p, tail in zip(row.places, row.tails, strict=True)}
    return [read[place] + _labels(model) for place in range(len(prompts))]


def _row(found: Sequence[float]) -> Row:
    true, false = found
    return true, false
