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
from rankrag.models.state_cache import StateCache
from rankrag.models.state_folder import StateFolder
from rankrag.models.transformers import TransformersModel
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Prompt, Question

if TYPE_CHECKING:
    from rankrag.models.openai import OpenAIModel

SIXTEEN_BITS = 1.0
"""How far scores in 16 bits, or of a server, which mostly uses them, may be apart: twice what was seen."""

Row = tuple[float, float]
"""Log-probabilities of the two labels, relevant first."""

Scorer = Callable[[Sequence[EncodedPrompt], list[int]], list[tuple[int, list[float]]]]


@dataclass(frozen=True, slots=True)
class Scored:
    """The result of a path: a row for each prompt, and the ids that it read with the two label ids after them."""

    rows: list[Row]
    ids: list[list[int]]


@dataclass(frozen=True, slots=True)
class ScorePath:
    """A way to score encoded prompts. An `exact` one is held to its own tolerance, or to that of all.

    `rows` scores them, and `reads` says which ids it reads. Paths that are not exact are only shown.
    """

    name: str
    exact: bool
    model: TransformersModel | OpenAIModel
    rows: Callable[[list[EncodedPrompt]], list[Row]]
    reads: Callable[[list[EncodedPrompt]], list[list[int]]] = lambda prompts: [prompt.ids for prompt in prompts]
    tolerance: float | None = None

    def score(self, prompts: Sequence[Prompt]) -> Scored:
        """Return the rows, and the ids that were read with those of the labels after them."""
        encoded = self.model.encode(prompts)
        return Scored(self.rows(encoded), [ids + _label_ids(self.model) for ids in self.reads(encoded)])


def paths_of(model: TransformersModel, groups: Sequence[Sequence[int]]) -> list[ScorePath]:
    """Return the paths that score with this model on this machine; `groups` are the places of each question's pairs."""
    own: dict[str, Callable[[list[EncodedPrompt]], list[Row]]] = {
        "padded batch": partial(_in_place, model.plain_logprobs, model),
        "one prompt a call": lambda prompts: [row for prompt in prompts for row in _asked(model, [prompt])],
        "small batches, shuffled": partial(_shuffled, model),
        "question by question": lambda prompts: [
            row for places in groups for row in _asked(model, [prompts[place] for place in places])
        ],
        "beside strangers": partial(_beside_strangers, model),
    }
    found = [ScorePath(name, True, model, rows) for name, rows in own.items()]
    probe = ranking_prompt(model.contract.format, Question("", "why?"), Passage("", "so"))
    if model.can_share(model.encode([probe])):
        shared = partial(_in_place, model.shared_logprobs, model)
        found.insert(1, ScorePath("prefix + tails", True, model, shared, _shared_ids))
    if not model.why_no_states():
        found.append(ScorePath("kept states", True, model, partial(_known, model, StateCache()), _shared_ids))
        found.append(ScorePath("kept states, on disk", True, model, partial(_known_on_disk, model), _shared_ids))
    if model.model.dtype == torch.float32:
        half = bfloat16(model)
        found.append(ScorePath("bfloat16", False, half, partial(_asked, half)))
    return found


def of_server(served: OpenAIModel, tolerance: float = SIXTEEN_BITS) -> ScorePath:
    """Return the path that asks a server, with the tokens that it is sent."""
    return ScorePath(f"server, {served.kind}", True, served, partial(_asked, served), tolerance=tolerance)


def _asked(model: TransformersModel | OpenAIModel, prompts: Sequence[EncodedPrompt]) -> list[Row]:
    return [(true, false) for true, false in model.choice_logprobs(prompts, model.contract.labels)]


def _label_ids(model: TransformersModel | OpenAIModel) -> list[int]:
    return model.encoder.label_ids(model.contract.labels)


def _in_place(score: Scorer, model: TransformersModel, prompts: list[EncodedPrompt]) -> list[Row]:
    """Score with a method that returns places with its rows, in an order of its own."""
    return [(true, false) for _, (true, false) in sorted(score(prompts, _label_ids(model)))]


def _shuffled(model: TransformersModel, prompts: list[EncodedPrompt]) -> list[Row]:
    order = random.Random(0).sample(range(len(prompts)), len(prompts))
    small = copy.copy(model)
    small.tokens_per_batch = max(1, max(map(len, prompts)) * 2)
    rows = dict(zip(order, _asked(small, [prompts[place] for place in order]), strict=True))
    return [rows[place] for place in range(len(prompts))]


def _beside_strangers(model: TransformersModel, prompts: list[EncodedPrompt]) -> list[Row]:
    """Score with a very short and a very long prompt of another question in the same call."""
    words = max(2, model.contract.passage_tokens // 4)
    asked, form = Question("stranger", "is this any of our concern? " * 3), model.contract.format
    short, long = (ranking_prompt(form, asked, Passage(str(i), "stranger " * n)) for i, n in enumerate((1, words)))
    first, last = model.encode([short, long])
    return _asked(model, [first, *prompts, last])[1:-1]


def _known(model: TransformersModel, states: StateCache, prompts: list[EncodedPrompt]) -> list[Row]:
    """Score twice, and return the second scores: all passages are known by then."""
    warm = copy.copy(model)
    warm.states = states
    _asked(warm, prompts)
    states.write()
    return _asked(warm, prompts)


def _known_on_disk(model: TransformersModel, prompts: list[EncodedPrompt]) -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        return _known(model, StateCache(StateFolder(Path(folder), "parity"), memory_bytes=0), prompts)


def _shared_ids(prompts: list[EncodedPrompt]) -> list[list[int]]:
    """Return what is read of each prompt where prompts share rows: root, prefix and its own tail."""
    root, rows = packing.share(prompts)
    read = {p: [*root, *row.prefix, *tail] for row in rows for p, tail in zip(row.places, row.tails, strict=True)}
    return [read[place] for place in range(len(prompts))]


def bfloat16(model: TransformersModel) -> TransformersModel:
    """Return a copy of the model in bfloat16, which "auto" takes if the hardware has it, without kept states."""
    half = copy.copy(model)
    half.model, half.states = copy.deepcopy(model.model), None
    for weight in half.model.parameters():  # not the angles of positions, which are float32 in any number type
        weight.data = weight.data.bfloat16()
    return half
