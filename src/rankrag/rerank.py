"""Step 2 of the paper (section 4.3): judge every candidate by itself, then decide what to answer from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from rankrag.contract import Contract, ScoreType
from rankrag.errors import ConfigError, ModelError
from rankrag.models import LanguageModel
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Question, Ranking

AT_ONCE = 512
"""Prompts that exist at the same time: ten thousand candidates take no more memory than 512."""

NEVER = math.inf
"""The bound that no log-odds reach: all candidates are judged, as in the paper, and the order is exact."""

BLOCK = 5
"""Candidates judged between two looks at the top k, where judging may stop early."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the model says about one passage.

    Attributes:
        log_odds: of relevance.
        probability: P(True) in [0, 1], the number that people see.
        added: the encoder's share in the final order (`retrieval.nearness`); 0 in the paper.
        truncated: the model did not read the passage to its end.
    """

    log_odds: float
    probability: float
    added: float = 0.0
    truncated: bool = False

    @property
    def final(self) -> float:
        """The score that orders passages."""
        return self.log_odds + self.added


def judge(model: LanguageModel, pairs: Sequence[tuple[Question, Passage]]) -> list[Judgement]:
    """Return the judgement of each (question, passage) pair, in the order of the pairs.

    The log-odds are those of the label `True` against `False` as the first token of the reply (paper, section 4.3).
    The model gets up to `AT_ONCE` pairs a call. `ModelError` names a pair whose score is not a number.
    """
    starts = range(0, len(pairs), AT_ONCE)
    return [judgement for start in starts for judgement in _judged(model, pairs[start : start + AT_ONCE])]


def _judged(model: LanguageModel, pairs: Sequence[tuple[Question, Passage]]) -> list[Judgement]:
    contract = model.contract
    prompts = model.encode([ranking_prompt(contract.format, question, passage) for question, passage in pairs])
    rows = model.choice_logprobs(prompts, contract.labels)
    found = []
    for (question, passage), prompt, (true, false) in zip(pairs, prompts, rows, strict=True):
        if math.isnan(true - false):
            raise ModelError(
                f"question {question.id!r}, passage {passage.id!r}: the model's score is not a number; "
                "try --dtype float32, or another checkpoint"
            )
        p_true = probability(contract.score, true, false)
        found.append(Judgement(true - false, p_true, truncated=prompt.truncated))
    return found


def probability(score: ScoreType, true: float, false: float) -> float:
    """Return P(True) in [0, 1] from the log-probabilities of the two labels over the vocabulary."""
    return math.exp(true) if score == "true" else 1.0 / (1.0 + math.exp(min(false - true, 700.0)))


def judge_all(model: LanguageModel, asked: Sequence[tuple[Question, Ranking]]) -> list[list[Judgement]]:
    """Return the judgements of each question's candidates; the pairs of all questions go to the model together."""
    judged = iter(judge(model, [(question, c.passage) for question, candidates in asked for c in candidates]))
    return [[next(judged) for _ in candidates] for _, candidates in asked]


def judge_until_settled(model: LanguageModel, question: Question, candidates: Ranking, bound: float) -> list[Judgement]:
    """Return the judgements of the first candidates, as many as it takes until `settled` holds.

    Judging stops after the first block of `BLOCK` candidates after which it does.
    """
    judged: list[Judgement] = []
    while len(judged) < len(candidates) and not settled([j.log_odds for j in judged], bound):
        block = candidates[len(judged) : len(judged) + BLOCK]
        judged += judge(model, [(question, c.passage) for c in block])
    return judged


def settled(log_odds: Sequence[float], bound: float) -> bool:
    """Whether the best of these log-odds reaches `bound`."""
    return max(log_odds, default=-math.inf) >= bound


def settled_after(log_odds: Sequence[float], bound: float) -> int:
    """Return how many of the candidates with these log-odds `judge_until_settled` judges."""
    looks = range(BLOCK, len(log_odds), BLOCK)
    return next((count for count in looks if settled(log_odds[:count], bound)), len(log_odds))


def bound_of(contract: Contract, settled_from: float | Literal["fitted"] | None, k: int) -> float:
    """Return `settled_from` as a number, for an answer from `k` passages; None judges all.

    "fitted" is the contract's bound. It was fitted to the contract's k: for another one, and without a bound, all are
    judged. `ConfigError` if it is not a number.
    """
    if settled_from == "fitted":
        settled_from = contract.settled_from if k == contract.k else None
    if settled_from is None:
        return NEVER
    if not isinstance(settled_from, int | float) or math.isnan(settled_from):
        raise ConfigError(f"settled_from={settled_from!r}: must be a number or 'fitted'; null judges all passages")
    return settled_from


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from the judgements of one question.

    Attributes:
        ranking: all candidates in the final order.
        contexts: the passages to answer from, the first k of `ranking`.
        withheld: no passage is relevant enough, so the answer is withheld.
        relevance: P(True) of each judged passage, by passage id.
        truncated: ids of the judged passages that the model could not read to the end.
    """

    ranking: Ranking
    contexts: Ranking
    withheld: bool
    relevance: dict[str, float] = field(default_factory=dict)
    truncated: frozenset[str] = frozenset()


def decide(candidates: Ranking, judgements: Sequence[Judgement], contract: Contract, k: int) -> Decision:
    """Order the candidates, keep the best `k` and decide whether the answer is withheld.

    `judgements` belong to the first candidates, in the same order; there are fewer of them if judging stopped early.
    Judged candidates come first, ordered by `Judgement.final`, ties in the retriever's order; `_in_order` says what
    happens to the others. The answer is withheld if there are no candidates, or if some were judged and none of them
    reaches the contract's `abstain_below`. This compares the model's own log-odds: the threshold was fitted to them.
    """
    ranking = _in_order(candidates, judgements)
    threshold = contract.abstain_below
    judged = list(zip(candidates, judgements, strict=False))
    irrelevant = threshold is not None and judged and max(j.log_odds for j in judgements) < threshold
    return Decision(
        ranking,
        ranking[:k],
        withheld=not candidates or bool(irrelevant),
        relevance={c.passage.id: j.probability for c, j in judged},
        truncated=frozenset(c.passage.id for c, j in judged if j.truncated),
    )


def _in_order(candidates: Ranking, judgements: Sequence[Judgement]) -> Ranking:
    """Return the judged candidates best first, then the others in their old order.

    Each of the others scores 1 less than the one before it: their scores only keep the order. Without judgements the
    candidates keep their scores too.
    """
    if not judgements:
        return candidates
    count = len(judgements)
    scored = [replace(c, score=j.final) for c, j in zip(candidates[:count], judgements, strict=True)]
    best = tuple(sorted(scored, key=lambda c: -c.score))
    rest = enumerate(candidates[count:], start=1)
    return best + tuple(replace(c, score=best[-1].score - place) for place, c in rest)
