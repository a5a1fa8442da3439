"""The paths on which a model can score prompts; `compare` holds each against one pair at a time."""

from __future__ import annotations

import copy
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from rankrag.encoding import EncodedPrompt
from rankrag.models import packing
from rankrag.models.int8 import places_for_int8, put_in_int8
from rankrag.models.state_cache import StateCache
from rankrag.models.transformers import TransformersModel
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Prompt, Question

if TYPE_CHECKING:
    from rankrag.models.openai import OpenAIModel

SIXTEEN_BITS = 1.0
"""How far scores in 16 bits, or of a server, which mostly uses them, may be apart: twice what was seen."""

Row = tuple[float, float]
"""Log-probabilities of the two labels, relevant first."""


@dataclass(frozen=True, slots=True)
class Scored:
    """The result of a path: a row for each prompt, and the ids that it read with the two label ids after them."""

    rows: list[Row]
    ids: list[list[int]]


@dataclass(frozen=True, slots=True)
class ScorePath:
    """A way to score prompts. An `exact` one is held to its own tolerance, or to that of all; others are only shown."""

    name: str
    exact: bool
    score: Callable[[Sequence[Prompt]], Scored]
    tolerance: float | None = None


def paths_of(model: TransformersModel, groups: Sequence[Sequence[int]]) -> list[ScorePath]:
    """Return the paths that score with this model on this machine; `groups` are the places of each question's pairs."""
    found = [
        ScorePath("padded batch", True, partial(_padded, model)),
        ScorePath("one prompt a call", True, partial(_by_call, model, None)),
        ScorePath("small batches, shuffled", True, partial(_shuffled, model)),
        ScorePath("question by question", True, partial(_by_call, model, groups)),
        ScorePath("beside strangers", True, partial(_beside_strangers, model)),
    ]
    probe = ranking_prompt(model.contract.format, Question("", "why?"), Passage("", "so"))
    if model.can_share(model.encode([probe])):
        found.insert(1, ScorePath("prefix + tails", True, partial(_shared, model)))
    if not model.why_no_states():
        found.append(ScorePath("kept states", True, partial(_known, model)))
        found.append(ScorePath("kept states, 16 bit on disk", False, partial(_known_on_disk, model)))
    if model.in_int8:
        return found
    if model.model.dtype == torch.float32:
        found.append(of_model("bfloat16", bfloat16(model), exact=False))
    if (quantised := int8(model)) is not None:
        found.append(of_model("int8 weights", quantised, exact=False))
    return found


def _padded(model: TransformersModel, prompts: Sequence[Prompt]) -> Scored:
    encoded = model.encode(prompts)
    return Scored(
        [_row(row) for _, row in sorted(model.plain_logprobs(encoded, _labels(model)))], _read(model, encoded)
    )


def _shared(model: TransformersModel, prompts: Sequence[Prompt]) -> Scored:
    encoded = model.encode(prompts)
    rows = [_row(row) for _, row in sorted(model.shared_logprobs(encoded, _labels(model)))]
    return Scored(rows, _read_shared(model, encoded))


def _by_call(model: TransformersModel, groups: Sequence[Sequence[int]] | None, prompts: Sequence[Prompt]) -> Scored:
    """Score a group in each call; None is one prompt a call."""
    encoded = model.encode(prompts)
    calls = [[place] for place in range(len(prompts))] if groups is None else groups
    return Scored([row for call in calls for row in _asked(model, [encoded[i] for i in call])], _read(model, encoded))


def _shuffled(model: TransformersModel, prompts: Sequence[Prompt]) -> Scored:
    encoded = model.encode(prompts)
    order = random.Random(0).sample(range(len(prompts)), len(prompts))
    small = copy.copy(model)
    small.tokens_per_batch = max(1, max(map(len, encoded)) * 2)
    rows = dict(zip(order, _asked(small, [encoded[place] for place in order]), strict=True))
    return Scored([rows[place] for place in range(len(prompts))], _read(model, encoded))


def _beside_strangers(model: TransformersModel, prompts: Sequence[Prompt]) -> Scored:
    """Score with a very short and a very long prompt of another question in the same call."""
    words = max(2, model.contract.passage_tokens // 4)
    asked, form = Question("stranger", "is this any of our concern? " * 3), model.contract.format
    strangers = [ranking_prompt(form, asked, Passage(str(i), "stranger " * n)) for i, n in enumerate((1, words))]
    rows = _asked(model, model.encode([strangers[0], *prompts, strangers[1]]))
    return Scored(rows[1:-1], _read(model, model.encode(prompts)))


def _known(model: TransformersModel, prompts: Sequence[Prompt], states: StateCache | None = None) -> Scored:
    """Score twice, and return the second scores: all passages are known by then."""
    warm = copy.copy(model)
    warm.states = states or StateCache()
    encoded = model.encode(prompts)
    _asked(warm, encoded)
    return Scored(_asked(warm, encoded), _read_shared(model, encoded))


def _known_on_disk(model: TransformersModel, prompts: Sequence[Prompt]) -> Scored:
    with tempfile.TemporaryDirectory() as folder:
        return _known(model, prompts, StateCache(form="float16", folder=Path(folder), memory_bytes=0))


def of_model(name: str, model: TransformersModel, *, exact: bool) -> ScorePath:
    """Return the path that asks a model for all prompts at once."""

    def asked(prompts: Sequence[Prompt]) -> Scored:
        encoded = model.encode(prompts)
        return Scored(_asked(model, encoded), _read(model, encoded))

    return ScorePath(name, exact, asked)


def of_server(served: OpenAIModel, tolerance: float = SIXTEEN_BITS) -> ScorePath:
    """Return the path that asks a server, with the tokens that it is sent."""

    def asked(prompts: Sequence[Prompt]) -> Scored:
        encoded = served.encode(prompts)
        rows = served.choice_logprobs(encoded, served.contract.labels)
        return Scored([_row(row) for row in rows], [one.ids + list(served.contract.label_ids) for one in encoded])

    return ScorePath(f"server, {served.kind}", True, asked, tolerance)


def bfloat16(model: TransformersModel) -> TransformersModel:
    """Return the model in bfloat16, which "auto" takes if the hardware has it."""
    half = _copied(model)
    for weight in half.model.parameters():  # not the angles of positions, which are float32 in any number type
        weight.data = weight.data.bfloat16()
    return half


def int8(model: TransformersModel) -> TransformersModel | None:
    """Return the model with its weights in eight bits, or None if it has no layers for that."""
    if not places_for_int8(model.model):
        return None
    quantised = _copied(model)
    quantised.in_int8 = put_in_int8(quantised.model) > 0
    return quantised


def _copied(model: TransformersModel) -> TransformersModel:
    """Return the model with its own copy of the weights, and without the kept states of the original."""
    twin = copy.copy(model)
    twin.model = copy.deepcopy(model.model)
    twin.states = None
    return twin


def _asked(model: TransformersModel, prompts: Sequence[EncodedPrompt]) -> list[Row]:
    return [_row(row) for row in model.choice_logprobs(prompts, model.contract.labels)]


def _labels(model: TransformersModel) -> list[int]:
    return model._ids_of(model.contract.labels)


def _read(model: TransformersModel, prompts: Sequence[EncodedPrompt]) -> list[list[int]]:
    return [prompt.ids + _labels(model) for prompt in prompts]


def _read_shared(model: TransformersModel, prompts: Sequence[EncodedPrompt]) -> list[list[int]]:
    root, rows = packing.share(prompts)
    read = {p: [*root, *row.prefix, *tail] for row in rows for p, tail in zip(row.places, row.tails, strict=True)}
    return [read[place] + _labels(model) for place in range(len(prompts))]


def _row(found: Sequence[float]) -> Row:
    true, false = found
    return true, false
