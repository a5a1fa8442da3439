"""A linear head on a middle layer, fitted and chosen by cross-validation over questions: pure rules, no model.

A pair is a question with one of its candidates. Folds are of questions, so every figure is of questions that the head
has not seen. The plain logistic loss keeps the natural share of relevant candidates, so log-odds are those of
relevance among the candidates; a listwise head gets its scale and bias from its held-out scores afterwards, as both do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Loss = Literal["pointwise", "listwise"]
LOSSES: tuple[Loss, ...] = ("pointwise", "listwise")
PENALTIES = (0.03, 0.3)
"""Weights of the squared head, for standardised states and losses that are means over questions or pairs."""

FOLDS = 5

MAY_LOSE = 0.01
"""AUC and R@1 below P(True)'s that count as nothing: a few hundred held-back questions cannot tell a point apart."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Labelled pairs: unit states [pairs, hidden size] of one layer, relevance [pairs], number of the question [pairs].

    Every question has a relevant candidate and another one.
    """

    states: np.ndarray
    relevant: np.ndarray
    question: np.ndarray


@dataclass(frozen=True, slots=True)
class Quality:
    """How well scores put relevant candidates first.

    Attributes:
        auc: chance that a relevant pair scores above another one, over all questions; half for ties.
        r1: share of questions whose best candidate is relevant; ties keep the order of the pairs.
        ranks: reciprocal rank of the best relevant candidate, by question.
    """

    auc: float
    r1: float
    ranks: np.ndarray

    @property
    def mrr(self) -> float:
        """The mean of `ranks`."""
        return float(self.ranks.mean())


@dataclass(frozen=True, slots=True)
class Linear:
    """Log-odds = weight · state + bias."""

    weight: np.ndarray
    bias: float

    def __call__(self, states: np.ndarray) -> np.ndarray:
        """Return the log-odds of states [pairs, hidden size]."""
        return np.asarray(states.astype(np.float64) @ self.weight + self.bias)


@dataclass(frozen=True, slots=True)
class FittedHead:
    """A head with the heads of its folds, by which each question is scored that the head was fitted to."""

    loss: Loss
    penalty: float
    quality: Quality
    head: Linear
    of_fold: tuple[Linear, ...]


def fit_head(pairs: Pairs, *, folds: int = FOLDS) -> FittedHead:
    """Return the best head of one layer: of each loss and penalty, by mean reciprocal rank over held-out questions."""
    found: FittedHead | None = None
    for loss in LOSSES:
        for penalty in PENALTIES:
            tried = _cross_validated(pairs, loss, penalty, folds)
            if found is None or _better(tried.quality, found.quality):
                found = tried
    assert found is not None
    return found


def fold_of(question: np.ndarray | int, folds: int = FOLDS) -> np.ndarray:
    """Return the fold of questions, by their number."""
    return np.asarray(question) % folds


def quality(scores: np.ndarray, pairs: Pairs) -> Quality:
    """Return how well scores [pairs] put relevant candidates first."""
    first, ranks = [], []
    for number in np.unique(pairs.question):
        own = pairs.question == number
        order = np.argsort(-scores[own], kind="stable")
        best = int(np.argmax(pairs.relevant[own][order]))
        first.append(best == 0)
        ranks.append(1 / (best + 1))
    return Quality(_auc(scores, pairs.relevant), float(np.mean(first)), np.asarray(ranks))


def choose_layer(layers: Sequence[tuple[int, Quality]], own: Quality) -> tuple[int, bool]:
    """Return the layer to rank from, and whether it loses nothing against the model's `own` score.

    It loses nothing where neither AUC nor R@1 is below by more than `MAY_LOSE`. Of the layers that lose nothing (of
    all, where each loses something), it is the earliest within one standard error of the best mean reciprocal rank.
    """
    lowest_auc, lowest_r1 = own.auc - MAY_LOSE - 1e-9, own.r1 - MAY_LOSE - 1e-9
    kept = [(layer, of) for layer, of in layers if of.auc >= lowest_auc and of.r1 >= lowest_r1]
    among = kept or list(layers)
    best = max((of for _, of in among), key=lambda of: of.mrr)
    for layer, of in sorted(among, key=lambda found: found[0]):
        behind = best.ranks - of.ranks
        if behind.mean() <= behind.std() / np.sqrt(len(behind)):
            return layer, bool(kept)
    raise AssertionError("the best layer is no further than nothing from itself")


def _better(one: Quality, other: Quality) -> bool:
    return (round(one.mrr, 6), one.auc) > (round(other.mrr, 6), other.auc)


def _cross_validated(pairs: Pairs, loss: Loss, penalty: float, folds: int) -> FittedHead:
    fold = fold_of(pairs.question, folds)
    heads = [_fitted(_only(pairs, fold != number), loss, penalty) for number in range(folds)]
    scores = np.empty(len(fold))
    for number, head in enumerate(heads):
        scores[fold == number] = head(pairs.states[fold == number])
    scaled = _calibration(scores, pairs.relevant)
    return FittedHead(
        loss,
        penalty,
        quality(scores, pairs),
        scaled(_fitted(pairs, loss, penalty)),
        tuple(scaled(head) for head in heads),
    )


def _only(pairs: Pairs, which: np.ndarray) -> Pairs:
    return Pairs(pairs.states[which], pairs.relevant[which], pairs.question[which])


def _fitted(pairs: Pairs, loss: Loss, penalty: float) -> Linear:
    """Fit a head to standardised states, and fold the standardisation into it."""
    states = pairs.states.astype(np.float32)
    mean, deviation = states.mean(axis=0), np.maximum(states.std(axis=0), 1e-4)
    inputs = (states - mean) / deviation
    _, question = np.unique(pairs.question, return_inverse=True)

    def value(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weight = parameters[:-1]
        odds = np.asarray(inputs @ weight.astype(np.float32), np.float64) + parameters[-1]
        of, slope = listwise(odds, pairs.relevant, question) if loss == "listwise" else pointwise(odds, pairs.relevant)
        downhill = np.append(slope.astype(np.float32) @ inputs + penalty * weight, slope.sum())
        return of + penalty * float(weight @ weight) / 2, downhill

    found = _minimum(value, inputs.shape[1] + 1)
    weight = found[:-1] / deviation
    return Linear(weight, float(found[-1] - weight @ mean))


def pointwise(odds: np.ndarray, relevant: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean logistic loss over pairs, and its slope in each log-odds."""
    losses = np.logaddexp(0, np.where(relevant, -odds, odds))
    return float(losses.mean()), (_sigmoid(odds) - relevant) / len(odds)


def listwise(odds: np.ndarray, relevant: np.ndarray, question: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mean over questions of -log of the relevant candidates' share in the softmax, and its slope."""
    highest = np.full(int(question.max()) + 1, -np.inf)
    np.maximum.at(highest, question, odds)
    shares = np.exp(odds - highest[question])
    among_all = np.bincount(question, shares)
    right = np.maximum(shares * relevant, relevant * 1e-300)
    among_right = np.bincount(question, right)
    slope = shares / among_all[question] - right / among_right[question]
    return float(np.mean(np.log(among_all) - np.log(among_right))), slope / len(highest)


def _calibration(scores: np.ndarray, relevant: np.ndarray) -> Callable[[Linear], Linear]:
    """Return what gives a head the scale and the bias under which held-out scores are log-odds of relevance."""
    spread = max(float(scores.std()), 1e-9)

    def value(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        scaled = scores / spread * np.exp(parameters[0])
        of, slope = pointwise(scaled + parameters[1], relevant)
        return of, np.array([slope @ scaled, slope.sum()])

    found = _minimum(value, 2)
    scale, bias = float(np.exp(found[0])) / spread, float(found[1])
    return lambda head: Linear(head.weight * scale, head.bias * scale + bias)


def _minimum(of: Callable[[np.ndarray], tuple[float, np.ndarray]], size: int) -> np.ndarray:
    from scipy.optimize import minimize  # a second of import that other commands need not pay

    return np.asarray(minimize(of, np.zeros(size), jac=True, method="L-BFGS-B", options={"maxiter": 200}).x)


def _sigmoid(odds: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(-np.logaddexp(0, -odds)))


def _auc(scores: np.ndarray, relevant: np.ndarray) -> float:
    right, wrong = np.sort(scores[relevant]), np.sort(scores[~relevant])
    below = np.searchsorted(wrong, right, side="left") + np.searchsorted(wrong, right, side="right")
    return float(below.sum() / (2 * len(right) * len(wrong)))
