"""Reranking with fewer passes than one a passage: stopping when the top k is settled, and windows of five.

The paper scores all N passages, each alone (section 4.3); both ways here give up exactness for time, and neither is
used unless asked for.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from rankrag.contract import Contract
from rankrag.errors import ConfigError
from rankrag.models import LanguageModel, SamplingParams
from rankrag.rerank import Judgement, judge
from rankrag.templates import list_ranking_prompt
from rankrag.types import Question, Ranking

NEVER = math.inf
"""The bound under which every candidate is judged: the exact order."""

BLOCK = 5
"""Candidates judged between two looks at the top k."""

WINDOW = 5
"""Passages of one retrieval-augmented ranking prompt, as in training (paper, section 4.2)."""

_REPLY = SamplingParams(max_new_tokens=32)


def bound_of(contract: Contract, settled_from: float | Literal["fitted"]) -> float:
    """Return the bound that is asked for: a number, or the one that was fitted for the score in use.

    `ConfigError` for what is no number, and where none was fitted.
    """
    bound = contract.settled_from if settled_from == "fitted" else settled_from
    if bound is None:
        raise ConfigError("settled_from: no bound was fitted for this score; run rankrag fit --save, or give a number")
    if not isinstance(bound, int | float) or math.isnan(bound):
        raise ConfigError(f"settled_from={bound!r}: must be a number or 'fitted'; infinity judges all passages")
    return bound


def judge_until_settled(
    model: LanguageModel, question: Question, retrieved: Ranking, *, k: int, bound: float
) -> list[Judgement]:
    """Return the judgements of the first candidates, in the retriever's order, as many as settle the top `k`.

    It is settled once the k-th best log-odds reach `bound`, which `rankrag fit` finds; with `NEVER` all candidates are
    judged, in one call.
    """
    if bound == NEVER:
        return judge(model, [(question, c.passage) for c in retrieved])
    judged: list[Judgement] = []
    while len(judged) < len(retrieved) and not settled([j.log_odds for j in judged], k, bound):
        block = retrieved[len(judged) : len(judged) + BLOCK]
        judged += judge(model, [(question, c.passage) for c in block])
    return judged


def settled(log_odds: Sequence[float], k: int, bound: float) -> bool:
    """Whether the k-th best of these log-odds reaches `bound`."""
    return len(log_odds) >= k and kth_best(log_odds, k) >= bound


def kth_best(log_odds: Sequence[float], k: int) -> float:
    """Return the k-th best of at least `k` log-odds."""
    return sorted(log_odds, reverse=True)[k - 1]


def rerank_in_windows(model: LanguageModel, question: Question, retrieved: Ranking) -> Ranking:
    """Return all candidates, those first that the model names in a window of five (paper, section 4.2, table 1).

    One call reads five passages in the retriever's order and names the relevant ones; within named (score 1) and not
    named (score 0) the retriever's order stays. A reply that names nothing moves nothing.
    """
    windows = [retrieved[start : start + WINDOW] for start in range(0, len(retrieved), WINDOW)]
    form = model.contract.format
    prompts = [list_ranking_prompt(form, question, [c.passage for c in window]) for window in windows]
    replies = model.generate(model.encode(prompts, reserve=_REPLY.max_new_tokens), _REPLY)
    scored = [
        replace(c, score=float(number in named_in(reply)))
        for window, reply in zip(windows, replies, strict=True)
        for number, c in enumerate(window, start=1)
    ]
    return tuple(sorted(scored, key=lambda c: -c.score))


def named_in(reply: str) -> frozenset[int]:
    """Return the numbers of the passages that a reply names: "Passage 1, Passage 3", or "1, 3"."""
    return frozenset(map(int, re.findall(r"\d+", reply)))
