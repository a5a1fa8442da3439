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
from rankrag.models.state_cache import StateCache
from rankrag.models.state_folder import StateFolder
from rankrag.models.transformers import TransformersModel
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Question

if TYPE_CHECKING:
    from rankrag.models.openai import OpenAIModel

SIXTEEN_BITS = 1.0
"""How far scores in 16 bits, or of a server, which mostly uses them, may be apart: twice what was seen."""

Rows = list[list[float]]
"""For each prompt, the log-probabilities of the two labels, relevant first."""

Scorer = Callable[[list[EncodedPrompt]], Rows]


@dataclass(frozen=True, slots=True)
class ScorePath:
    """A way to score the prompts that `model` encodes: `rows` returns a row for each.

    An `exact` one is held to its own `tolerance`, or to that of all; others are only shown.
    """

    name: str
    model: TransformersModel | OpenAIModel
    rows: Scorer
    exact: bool = True
    tolerance: float | None = None


def paths_of(model: TransformersModel, groups: Sequence[Sequence[int]]) -> list[ScorePath]:
    """Return the paths that score with this model on this machine; `groups` are the places of each question's pairs."""
    labels = model.encoder.label_ids(model.contract.labels)
    found: dict[str, Scorer] = {"padded batch": partial(model.next_logprobs, choices=labels, sharing=False)}
    probe = ranking_prompt(model.contract.format, Question("", "why?"), Passage("", "so"))
    if model.can_share(model.encode([probe])):
        found["prefix + tails"] = partial(model.next_logprobs, choices=labels, sharing=True)
    found |= {
        "one prompt a call": lambda prompts: [row for prompt in prompts for row in _asked(model, [prompt])],
        "small batches, shuffled": partial(_shuffled, model),
        "question by question": lambda prompts: [
            row for places in groups for row in _asked(model, [prompts[place] for place in places])
        ],
        "beside strangers": partial(_beside_strangers, model),
    }
    if not model.why_no_states():
        found["kept states"] = lambda prompts: _known(model, StateCache(), prompts)
        found["kept states, on disk"] = partial(_known_on_disk, model)
    paths = [ScorePath(name, model, rows) for name, rows in found.items()]
    if model.model.dtype == torch.float32:
        half = bfloat16(model)
        paths.append(ScorePath("bfloat16", half, partial(_asked, half), exact=False))
    return paths


def of_server(served: OpenAIModel, tolerance: float = SIXTEEN_BITS) -> ScorePath:
    """Return the path that asks a server."""
    return ScorePath(f"server, {served.kind}", served, partial(_asked, served), tolerance=tolerance)


def bfloat16(model: TransformersModel) -> TransformersModel:
    """Return a copy of the model in bfloat16, which "auto" takes if the hardware has it, without kept states."""
    half = copy.copy(model)
    half.model, half.states = copy.deepcopy(model.model), None
    for weight in half.model.parameters():  # not the angles of positions, which are float32 in any number type
        weight.data = weight.data.bfloat16()
    return half


def _asked(model: TransformersModel | OpenAIModel, prompts: Sequence[EncodedPrompt]) -> Rows:
    return model.choice_logprobs(prompts, model.contract.labels)


def _shuffled(model: TransformersModel, prompts: list[EncodedPrompt]) -> Rows:
    order = random.Random(0).sample(range(len(prompts)), len(prompts))
    small = copy.copy(model)
    small.tokens_per_batch = max(1, max(map(len, prompts)) * 2)
    found = zip(order, _asked(small, [prompts[place] for place in order]), strict=True)
    return [row for _, row in sorted(found)]


def _beside_strangers(model: TransformersModel, prompts: list[EncodedPrompt]) -> Rows:
    """Score with a very short and a very long prompt of another question in the same call."""
    words = max(2, model.contract.passage_tokens // 4)
    asked, form = Question("stranger", "is this any of our concern? " * 3), model.contract.format
    short, long = (ranking_prompt(form, asked, Passage(str(i), "stranger " * n)) for i, n in enumerate((1, words)))
    first, last = model.encode([short, long])
    return _asked(model, [first, *prompts, last])[1:-1]


def _known(model: TransformersModel, states: StateCache, prompts: list[EncodedPrompt]) -> Rows:
    """Score twice, and return the second scores: all passages are known by then."""
    warm = copy.copy(model)
    warm.states = states
    _asked(warm, prompts)
    states.write()
    return _asked(warm, prompts)


def _known_on_disk(model: TransformersModel, prompts: list[EncodedPrompt]) -> Rows:
    with tempfile.TemporaryDirectory() as folder:
        return _known(model, StateCache(StateFolder(Path(folder), "parity"), memory_bytes=0), prompts)
