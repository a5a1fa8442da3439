"""Step 2 of the paper (section 4.3): judge every candidate by itself, then decide what to answer from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from rankrag.contract import Contract
from rankrag.errors import ModelError
from rankrag.models import LanguageModel
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Question, Ranking


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the model says of one passage: the log-odds of relevance, and the probability in [0, 1] that people see.

    `added` is what an encoder adds to the log-odds that order passages (`retrieval.nearness`); the paper adds nothing.
    `truncated` says that the model read the passage's beginning alone.
    """

    log_odds: float
    probability: float
    added: float = 0.0
    truncated: bool = False

    @property
    def final(self) -> float:
        """What the passage is ordered by."""
        return self.log_odds + self.added


AT_ONCE = 512
"""Pairs whose prompts exist at the same time, so that ten thousand candidates take no more memory than these."""


def judge(model: LanguageModel, pairs: Sequence[tuple[Question, Passage]]) -> list[Judgement]:
    """Return the judgement of each (question, passage) pair, in their order; the model gets up to `AT_ONCE` a call.

    `ModelError` for a score that is not a number, which would have no place in any order: it names the pair.
    """
    starts = range(0, len(pairs), AT_ONCE)
    return [judgement for start in starts for judgement in _judged(model, pairs[start : start + AT_ONCE])]


def _judged(model: LanguageModel, pairs: Sequence[tuple[Question, Passage]]) -> list[Judgement]:
    contract = model.contract
    prompts = model.encode([ranking_prompt(contract.format, question, passage) for question, passage in pairs])
    rows = model.choice_logprobs(prompts, contract.labels)
    found = [Judgement(true - false, contract.probability(true, false)) for true, false in rows]
    for (question, passage), judgement in zip(pairs, found, strict=True):
        if math.isnan(judgement.log_odds):
            raise ModelError(
                f"question {question.id!r}, passage {passage.id!r}: the model's score is not a number; "
                "try --dtype float32, or another checkpoint"
            )
    return [replace(j, truncated=prompt.truncated) for j, prompt in zip(found, prompts, strict=True)]


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

    `judgements` belong to the first candidates, in the same order; there are fewer of them where judging stopped early.
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
    count = len(judgements)
    best = ordered(candidates[:count], judgements)
    if not best:
        return candidates
    rest = enumerate(candidates[count:], start=1)
    return best + tuple(replace(c, score=best[-1].score - place) for place, c in rest)


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
    """Return the candidates with their final scores, best first, ties in the given order."""
    scored = [replace(c, score=j.final) for c, j in zip(candidates, judgements, strict=True)]
    return tuple(sorted(scored, key=lambda c: -c.score))
