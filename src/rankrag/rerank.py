"""Step 2 of the paper (section 4.3): every candidate is judged by itself, then ordered by its score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rankrag.models import LanguageModel
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Question, Ranking


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the model says of one passage: the log-odds that order it, and the P(True) in [0, 1] that people see."""

    log_odds: float
    probability: float


AT_ONCE = 512
"""Pairs whose prompts exist at the same time, so that ten thousand candidates take no more memory than these."""


def judge(model: LanguageModel, pairs: Sequence[tuple[Question, Passage]]) -> list[Judgement]:
    """Return the judgement of each (question, passage) pair, in their order; the model gets up to `AT_ONCE` a call."""
    starts = range(0, len(pairs), AT_ONCE)
    return [judgement for start in starts for judgement in _judged(model, pairs[start : start + AT_ONCE])]


def _judged(model: LanguageModel, pairs: Sequence[tuple[Question, Passage]]) -> list[Judgement]:
    contract = model.contract
    prompts = [ranking_prompt(contract.format, question, passage) for question, passage in pairs]
    rows = model.choice_logprobs(prompts, contract.labels)
    return [Judgement(true - false, contract.probability(true, false)) for true, false in rows]


def rerank(model: LanguageModel, question: Question, candidates: Ranking) -> Ranking:
    """Return all candidates, the one the model finds most relevant first.

    A score is the log-odds of the label `True` against `False` as the first token of the reply (paper, section 4.3).
    Ties keep the retriever's order; no candidates give an empty ranking.
    """
    (ranking,) = rerank_many(model, [(question, candidates)])
    return ranking


def rerank_many(model: LanguageModel, questions: Sequence[tuple[Question, Ranking]]) -> list[Ranking]:
    """Return the reranked candidates of each question; all pairs go to the model in one call."""
    pairs = [(question, c.passage) for question, candidates in questions for c in candidates]
    judgements = iter(judge(model, pairs))
    return [ordered(candidates, [next(judgements) for _ in candidates]) for _, candidates in questions]


def ordered(candidates: Ranking, judgements: Sequence[Judgement]) -> Ranking:
    """Return the candidates with their log-odds as scores, best first, ties in the given order."""
    scored = [replace(c, score=j.log_odds) for c, j in zip(candidates, judgements, strict=True)]
    return tuple(sorted(scored, key=lambda c: -c.score))


def with_first_stage(reranked: Ranking, retrieved: Ranking, weight: float) -> Ranking:
    """Return the passages ordered by log-odds - weight * ln(rank in the first stage); weight 0 is the paper's order.

    The rank, not the score, because retrievers' scales differ; it acts as a prior on relevance that falls as a power
    of the rank, so that a small model does not undo a good first stage (docs/deviations.md).
    """
    rank = {c.passage.id: place for place, c in enumerate(retrieved, start=1)}
    blended = [replace(c, score=c.score - weight * math.log(rank[c.passage.id])) for c in reranked]
    return tuple(sorted(blended, key=lambda c: (-c.score, rank[c.passage.id])))
