"""The same pairs on every path of a model, compared with a reference that scores one pair at a time.

The reference shares only the prompt and the turn markers with the code that it judges. It tokenises segment by segment
in its own few lines, finds the label ids itself, and reads the logits of one forward pass a pair, without padding, mask
or cache. For a model in 16 bits it computes the labels' logits in float32, as all paths do (`models.label_logits`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rankrag.contract import Contract
from rankrag.encoding import turn_markers
from rankrag.errors import DataError
from rankrag.models.label_logits import choice_logprobs
from rankrag.models.transformers import TransformersModel
from rankrag.parity.paths import SIXTEEN_BITS, Rows, ScorePath, paths_of
from rankrag.templates import ranking_prompt
from rankrag.types import Prompt, Question, Ranking

PAIRS = Path(__file__).with_name("pairs.jsonl")
"""The fixed set: passages that two questions share, a conversation, a claim, a long passage, a hostile one."""

TOLERANCE = 1e-4
FEWEST_PATHS = 5


@dataclass(frozen=True, slots=True)
class Compared:
    """How far a path is from the reference.

    Attributes:
        log_odds: largest difference of log P(True) - log P(False); NaN if any score is not a number.
        log_true: largest difference of log P(True) over the vocabulary.
        tau: Kendall's tau-b of the two orders, mean over the questions with two passages or more.
        differs: the first token that differs from the reference's, in words; empty if none does.
        tolerance: limit for both differences, if the path is exact.
    """

    name: str
    exact: bool
    log_odds: float
    log_true: float
    tau: float
    differs: str
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether scores and tokens are the reference's."""
        return self.log_odds <= self.tolerance and self.log_true <= self.tolerance and not self.differs


@dataclass(frozen=True, slots=True)
class Parity:
    """The comparison: `spread` is the reference's largest minus its smallest log-odds, over `pairs` pairs."""

    pairs: int
    spread: float
    tolerance: float
    paths: tuple[Compared, ...]

    @property
    def off(self) -> tuple[Compared, ...]:
        """The exact paths that do not agree."""
        return tuple(path for path in self.paths if path.exact and not path.agrees)

    @property
    def holds(self) -> bool:
        """Whether enough paths were compared, counting the reference, and every exact one agrees."""
        return not self.off and len(self.paths) + 1 >= FEWEST_PATHS


def compare(
    model: TransformersModel,
    questions: Sequence[tuple[Question, Ranking]],
    *,
    tolerance: float | None = None,
    paths: Sequence[ScorePath] | None = None,
    more: Sequence[ScorePath] = (),
) -> Parity:
    """Return how far each path is from the reference; the paths are by default `paths_of` the model.

    The tolerance is by default `TOLERANCE`, and `SIXTEEN_BITS` for a model in 16 bits. `DataError` without pairs.
    """
    if tolerance is None:
        tolerance = TOLERANCE if model.model.dtype == torch.float32 else SIXTEEN_BITS
    prompts = [
        ranking_prompt(model.contract.format, question, c.passage) for question, found in questions for c in found
    ]
    if not prompts:
        raise DataError("parity needs at least one question with a passage (found: none)")
    ends = list(itertools.accumulate(len(ranking) for _, ranking in questions))
    groups = [range(end - len(ranking), end) for (_, ranking), end in zip(questions, ends, strict=True)]
    expected = reference(model, prompts)
    wanted = [*(paths_of(model, groups) if paths is None else paths), *more]
    odds = _log_odds(expected.rows)
    compared = tuple(_compared(path, prompts, expected, groups, tolerance) for path in wanted)
    return Parity(len(prompts), float(np.ptp(odds)), tolerance, compared)


@dataclass(frozen=True, slots=True)
class Reference:
    """The scores of prompts, and the ids of each with the two label ids after them."""

    rows: Rows
    ids: list[list[int]]


def reference(model: TransformersModel, prompts: Sequence[Prompt]) -> Reference:
    """Return the scores of one pair at a time: a forward pass each, every position's logits, nothing shared."""
    contract, tokenizer = model.contract, model.tokenizer
    labels = [label_id(tokenizer, contract, label) for label in contract.labels]
    ids = [reference_ids(tokenizer, contract, prompt) for prompt in prompts]
    with torch.inference_mode():
        rows = [_last_logprobs(model, torch.tensor([one], device=model.device), labels).tolist() for one in ids]
    return Reference(rows, [one + labels for one in ids])


def _last_logprobs(model: TransformersModel, ids: torch.Tensor, labels: list[int]) -> torch.Tensor:
    if model.model.dtype == torch.float32:
        return torch.log_softmax(model.model(ids).logits[0, -1].double(), dim=-1)[labels]
    row = torch.zeros(1, dtype=torch.long, device=ids.device)
    return choice_logprobs(model.model, labels, row, row - 1, input_ids=ids)[0]


def reference_ids(tokenizer: Any, contract: Contract, prompt: Prompt) -> list[int]:
    """Return a ranking prompt's ids, segment by segment; its one passage is cut to the contract's limits."""
    markers = turn_markers(tokenizer, contract.format.turns)
    pieces = [
        _foreign_ids(tokenizer, markers, segment.text)
        if segment.kind != "fixed"
        else tokenizer(segment.text, add_special_tokens=False)["input_ids"]
        for segment in prompt
    ]
    ids: list[int] = []
    for segment, piece in zip(prompt, pieces, strict=True):
        room = contract.max_tokens - 1 - sum(map(len, pieces)) + len(piece)
        ids += piece[: min(contract.passage_tokens, room)] if segment.kind == "passage" else piece
    return ids


def _foreign_ids(tokenizer: Any, markers: Mapping[int, str], text: str) -> list[int]:
    """Return the ids of a foreign text; the name of a turn marker in it is broken up."""
    ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    if not (seen := {markers[i] for i in ids if i in markers}):
        return ids
    for name in sorted(seen, key=len, reverse=True):
        text = text.replace(name, f"{name[0]} {name[1:]}")
    ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return [i for i in ids if i not in markers or i == tokenizer.unk_token_id]


def label_id(tokenizer: Any, contract: Contract, label: str) -> int:
    """Return the id that is added to a prompt's last segment when the label follows it."""
    turns = contract.format.turns
    before = tokenizer(turns.generation, add_special_tokens=False)["input_ids"]
    after = tokenizer(turns.generation + turns.before_target + label, add_special_tokens=False)["input_ids"]
    return int(after[len(before)])


def kendall_tau(left: Sequence[float] | np.ndarray, right: Sequence[float] | np.ndarray) -> float:
    """Return Kendall's tau-b of two scorings of the same things, in [-1, 1].

    If one of them ties everything, there is no order to compare: 1 if the other does so too, otherwise 0.
    """
    a, b = (np.sign(np.subtract.outer(row, row)) for row in (left, right))
    if not a.any() or not b.any():
        return float(a.any() == b.any())
    return float((a * b).sum() / math.sqrt((a * a).sum() * (b * b).sum()))


def _compared(
    path: ScorePath, prompts: Sequence[Prompt], expected: Reference, groups: Sequence[Sequence[int]], tolerance: float
) -> Compared:
    model = path.model
    encoded = model.encode(prompts)
    found, labels = path.rows(encoded), model.encoder.label_ids(model.contract.labels)
    odds, wanted = _log_odds(found), _log_odds(expected.rows)
    taus = [kendall_tau(odds[list(places)], wanted[list(places)]) for places in groups if len(places) > 1]
    return Compared(
        name=path.name,
        exact=path.exact,
        log_odds=float(np.abs(odds - wanted).max()),
        log_true=float(np.abs(np.subtract(found, expected.rows)[:, 0]).max()),
        tau=sum(taus) / len(taus) if taus else 1.0,
        differs=_first_difference([one.ids + labels for one in encoded], expected.ids, model.encoder.tokenizer),
        tolerance=tolerance if path.tolerance is None else path.tolerance,
    )


def _log_odds(rows: Rows) -> np.ndarray:
    return -np.diff(rows)[:, 0]


def _first_difference(found: Sequence[Sequence[int]], expected: Sequence[Sequence[int]], tokenizer: Any) -> str:
    """Name the first place where the tokens of a prompt or a label differ from the reference's."""
    for pair, (ids, wanted) in enumerate(zip(found, expected, strict=True)):
        for place, (one, other) in enumerate(itertools.zip_longest(ids, wanted)):
            if one != other:
                names = [repr(tokenizer.decode([i])) if i is not None else "nothing" for i in (one, other)]
                return f"pair {pair}, token {place}: {names[0]} for {names[1]}"
    return ""
