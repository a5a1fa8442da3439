"""The check that every export must pass: the same scores and tokens as ours on the shipped pairs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rankrag.data.runs import read_candidates
from rankrag.encoding import EncodedPrompt
from rankrag.errors import ModelError
from rankrag.models.transformers import TransformersModel
from rankrag.parity.compare import PAIRS
from rankrag.rerank import judge
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Question

TOLERANCE = 1e-3


Pair = tuple[Question, Passage]


def pairs_to_check(model: TransformersModel, count: int = 5) -> list[Pair]:
    """Return the shipped pairs that other programs can read: without history, with passages that are not truncated."""
    found = [
        (question, c.passage)
        for question, ranking in read_candidates(PAIRS)
        for c in ranking
        if not question.history and question.style != "claim"
    ]
    whole = [pair for pair, e in zip(found, encoded(model, found), strict=True) if not e.truncated]
    return whole[:1] + whole[1 - count :]


def encoded(model: TransformersModel, pairs: Sequence[Pair]) -> list[EncodedPrompt]:
    """Return the ranking prompts of the pairs as the model reads them."""
    return model.encode([ranking_prompt(model.contract.format, *pair) for pair in pairs])


def check(
    name: str, model: TransformersModel, log_odds: Callable[[list[Pair]], Sequence[float]], tolerance: float = TOLERANCE
) -> float:
    """Return the largest difference of `log_odds` from ours on `pairs_to_check`; `ModelError` if it is not rounding."""
    pairs = pairs_to_check(model)
    apart = max(abs(a - j.log_odds) for a, j in zip(log_odds(pairs), judge(model, pairs), strict=True))
    if not apart <= tolerance:
        raise ModelError(f"{name}: its log-odds differ from ours by up to {apart:.3g}, so nothing was written")
    return apart
