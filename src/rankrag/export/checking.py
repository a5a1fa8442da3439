"""The check that every export must pass: the same scores and tokens as ours on the shipped pairs."""

from __future__ import annotations

from collections.abc import Sequence

from rankrag.data.runs import read_candidates
from rankrag.errors import ModelError
from rankrag.models.transformers import TransformersModel
from rankrag.parity.compare import PAIRS
from rankrag.rerank import judge
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Question

TOLERANCE = 1e-3


def pairs_to_check(model: TransformersModel, count: int = 5) -> list[tuple[Question, Passage]]:
    """Return the shipped pairs that other programs can read: without history, with passages that are not truncated."""
    found = [
        (question, c.passage)
        for question, ranking in read_candidates(PAIRS)
        for c in ranking
        if not question.history and question.style != "claim"
    ]
    prompts = [ranking_prompt(model.contract.format, question, passage) for question, passage in found]
    whole = [pair for pair, e in zip(found, model.encoder.encode(prompts), strict=True) if not e.truncated]
    return whole[:1] + whole[1 - count :]


def check(
    name: str,
    model: TransformersModel,
    pairs: Sequence[tuple[Question, Passage]],
    scores: list[float],
    *,
    tolerance: float = TOLERANCE,
) -> float:
    """Return the largest difference of log-odds; `ModelError` if it is more than rounding."""
    apart = max(abs(a - j.log_odds) for a, j in zip(scores, judge(model, pairs), strict=True))
    if not apart <= tolerance:
        raise ModelError(f"{name}: its log-odds differ from ours by up to {apart:.3g}, so nothing was written")
    return apart
