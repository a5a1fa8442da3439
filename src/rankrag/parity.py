"""The same pairs on every path of a model: is each score the one that its prompt gets alone?

The reference takes nothing from the code it judges but the prompt: it tokenises segment by segment in its own few
lines, finds the label ids itself, and reads the logits of one forward pass a pair, without padding, mask or cache.
"""

from __future__ import annotations

import copy
import itertools
import math
import random
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rankrag.contract import Contract
from rankrag.errors import DataError
from rankrag.models import packing
from rankrag.models.state_cache import StateCache
from rankrag.models.transformers import TransformersModel
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Prompt, Question, Ranking

PAIRS = Path(__file__).with_name("parity_pairs.jsonl")
"""The fixed set: passages that two questions share, a conversation, a claim, a long passage, a hostile one."""

TOLERANCE = 1e-4
FEWEST_PATHS = 5

Row = tuple[float, float]
"""Log-probabilities of the two labels, relevant first."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What a path made of the prompts: a row for each, and the ids it read with the two label ids behind them."""

    rows: list[Row]
    ids: list[list[int]]


@dataclass(frozen=True, slots=True)
class ScorePath:
    """A way to score prompts. An `exact` one is held to the tolerance, another is shown only."""

    name: str
    exact: bool
    score: Callable[[Sequence[Prompt]], Scored]


@dataclass(frozen=True, slots=True)
class Compared:
    """How far a path is from the reference.

    Attributes:
        log_odds: largest difference of log P(True) - log P(False).
        log_true: largest difference of log P(True) over the vocabulary.
        tau: Kendall's tau-b of the two orders, mean over the questions with two passages or more.
        differs: the first token that is not the reference's, in words; empty where all are.
    """

    name: str
    exact: bool
    log_odds: float
    log_true: float
    tau: float
    differs: str

    def within(self, tolerance: float) -> bool:
        """Whether scores and tokens are the reference's."""
        return max(self.log_odds, self.log_true) <= tolerance and not self.differs


@dataclass(frozen=True, slots=True)
class Parity:
    """The comparison: `spread` is the reference's largest minus its smallest log-odds, over `pairs` pairs."""

    pairs: int
    spread: float
    tolerance: float
    paths: tuple[Compared, ...]

    @property
    def off(self) -> tuple[Compared, ...]:
        """The exact paths that are not."""
        return tuple(path for path in self.paths if path.exact and not path.within(self.tolerance))

    @property
    def holds(self) -> bool:
        """Whether enough paths were compared, the reference among them, and every exact one is exact."""
        return not self.off and len(self.paths) + 1 >= FEWEST_PATHS


def compare(
    model: TransformersModel,
    questions: Sequence[tuple[Question, Ranking]],
    *,
    tolerance: float = TOLERANCE,
    paths: Sequence[ScorePath] | None = None,
) -> Parity:
    """Return how each path (by default `paths_of` the model) compares with one pair at a time; `DataError` if empty."""
    pairs = [(question, c.passage) for question, ranking in questions for c in ranking]
    if not pairs:
        raise DataError("parity needs at least one question with a passage (found: none)")
    prompts = [ranking_prompt(model.contract.format, question, passage) for question, passage in pairs]
    expected = reference(model, prompts)
    groups = _by_question([len(ranking) for _, ranking in questions])
    wanted = paths_of(model, groups) if paths is None else paths
    odds = [true - false for true, false in expected.rows]
    return Parity(
        pairs=len(pairs),
        spread=max(odds) - min(odds),
        tolerance=tolerance,
        paths=tuple(_compared(path, path.score(prompts), expected, groups, model.tokenizer) for path in wanted),
    )


def reference(model: TransformersModel, prompts: Sequence[Prompt]) -> Scored:
    """Return the scores of one pair at a time: a forward pass each, every position's logits, nothing shared."""
    contract, tokenizer = model.contract, model.tokenizer
    labels = [label_id(tokenizer, contract, label) for label in contract.labels]
    rows: list[Row] = []
    ids = [reference_ids(tokenizer, contract, prompt) for prompt in prompts]
    for one in ids:
        with torch.inference_mode():
            last = model.model(torch.tensor([one], device=model.device)).logits[0, -1]
        true, false = torch.log_softmax(last.double(), dim=-1)[labels].tolist()
        rows.append((true, false))
    return Scored(rows, [one + labels for one in ids])


def reference_ids(tokenizer: Any, contract: Contract, prompt: Prompt) -> list[int]:
    """Return a ranking prompt's ids, segment by segment; its one passage is cut to the contract's limits."""
    pieces = [
        tokenizer(segment.text, add_special_tokens=False, split_special_tokens=segment.kind != "fixed")["input_ids"]
        for segment in prompt
    ]
    ids: list[int] = []
    for segment, piece in zip(prompt, pieces, strict=True):
        room = contract.max_tokens - 1 - sum(map(len, pieces)) + len(piece)
        ids += piece[: min(contract.passage_tokens, room)] if segment.kind == "passage" else piece
    return ids


def label_id(tokenizer: Any, contract: Contract, label: str) -> int:
    """Return the id that a prompt's last segment gains when the label is written behind it."""
    turns = contract.format.turns
    before = tokenizer(turns.generation, add_special_tokens=False)["input_ids"]
    after = tokenizer(turns.generation + turns.before_target + label, add_special_tokens=False)["input_ids"]
    return int(after[len(before)])


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
    if (quantised := int8(model)) is not None:
        found.append(of_model("int8, by the batch", quantised, exact=False))
    return found


def of_model(name: str, model: TransformersModel, *, exact: bool) -> ScorePath:
    """Return the path that asks a model for all prompts at once."""
    return ScorePath(name, exact, lambda prompts: Scored(_asked(model, prompts), _read(model, prompts)))


def int8(model: TransformersModel) -> TransformersModel | None:
    """Return the model with its linear layers but the head in int8, or None where it has none or is not on a CPU.

    Activations are scaled over the whole batch, so a score moves with its neighbours: never held to the tolerance.
    """
    head = model.model.get_output_embeddings()
    linear = [m for m in model.model.modules() if isinstance(m, torch.nn.Linear) and m is not head]
    if model.device.type != "cpu" or model.model.dtype != torch.float32 or not linear:
        return None
    quantised = copy.copy(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.ao announces its successor, torchao, which is slower on a CPU
        quantise: Any = torch.ao.quantization.quantize_dynamic
        inner = quantise(model.model, {torch.nn.Linear}, dtype=torch.qint8)
    inner.set_output_embeddings(head)
    quantised.model = inner
    quantised.states = None  # those kept are the other model's
    return quantised


def kendall_tau(left: Sequence[float], right: Sequence[float]) -> float:
    """Return Kendall's tau-b of two scorings of the same things, in [-1, 1].

    Where one of them ties everything there is no order to agree on: 1 if the other does too, else 0.
    """
    agree = left_ties = right_ties = pairs = 0
    for (a, b), (x, y) in itertools.combinations(zip(left, right, strict=True), 2):
        pairs += 1
        left_ties += a == x
        right_ties += b == y
        agree += _sign(a - x) * _sign(b - y)
    if left_ties == pairs or right_ties == pairs:
        return float(left_ties == right_ties)
    return agree / math.sqrt((pairs - left_ties) * (pairs - right_ties))


def _compared(
    path: ScorePath, found: Scored, expected: Scored, groups: Sequence[Sequence[int]], tokenizer: Any
) -> Compared:
    odds = [[true - false for true, false in scored.rows] for scored in (found, expected)]
    taus = [kendall_tau(*([row[place] for place in places] for row in odds)) for places in groups if len(places) > 1]
    return Compared(
        name=path.name,
        exact=path.exact,
        log_odds=_furthest(*odds),
        log_true=_furthest(*([true for true, _ in scored.rows] for scored in (found, expected))),
        tau=sum(taus) / len(taus) if taus else 1.0,
        differs=_first_difference(found.ids, expected.ids, tokenizer),
    )


def _furthest(found: Sequence[float], expected: Sequence[float]) -> float:
    apart = [abs(a - b) for a, b in zip(found, expected, strict=True)]
    return math.inf if any(map(math.isnan, apart)) else max(apart)


def _first_difference(found: Sequence[Sequence[int]], expected: Sequence[Sequence[int]], tokenizer: Any) -> str:
    """Name the first place where a prompt or a label is another token than the reference's."""
    for pair, (ids, wanted) in enumerate(zip(found, expected, strict=True)):
        for place, (one, other) in enumerate(itertools.zip_longest(ids, wanted)):
            if one != other:
                names = [repr(tokenizer.decode([i])) if i is not None else "nothing" for i in (one, other)]
                return f"pair {pair}, token {place}: {names[0]} for {names[1]}"
    return ""


def _by_question(sizes: Sequence[int]) -> list[range]:
    ends = list(itertools.accumulate(sizes))
    return [range(end - size, end) for size, end in zip(sizes, ends, strict=True)]


def _asked(model: TransformersModel, prompts: Sequence[Prompt]) -> list[Row]:
    return [_row(row) for row in model.choice_logprobs(prompts, model.contract.labels)]


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


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)
