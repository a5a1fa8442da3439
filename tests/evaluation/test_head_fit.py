from __future__ import annotations

import numpy as np
import pytest

from rankrag.evaluation import head_fit
from rankrag.evaluation.head_fit import Pairs, Quality, choose_layer, fit_head, fold_of, listwise, pointwise, quality

QUESTIONS, CANDIDATES, WIDTH = 80, 6, 12


def drawn(signal, seed=0, questions=QUESTIONS):
    """Pairs whose relevant candidate (one of six) is moved by `signal` along the first axis, amid noise."""
    rng = np.random.default_rng(seed)
    relevant = np.tile(np.arange(CANDIDATES) == 2, questions)
    states = rng.normal(0, 1, (len(relevant), WIDTH))
    states[:, 0] += signal * relevant
    return Pairs(states.astype(np.float16), relevant, np.repeat(np.arange(questions), CANDIDATES))


def test_a_head_finds_what_the_states_hold():
    found = fit_head(drawn(signal=4.0))
    assert found.quality.auc > 0.97
    assert np.argmax(np.abs(found.head.weight)) == 0


def test_noise_gives_no_quality_since_questions_are_held_out():
    found = fit_head(drawn(signal=0.0))
    assert 0.4 < found.quality.auc < 0.6


@pytest.mark.parametrize("loss", ["pointwise", "listwise"])
def test_log_odds_are_those_of_relevance_among_the_candidates(monkeypatch, loss):
    monkeypatch.setattr(head_fit, "LOSSES", (loss,))
    found, fresh = fit_head(drawn(signal=2.0, questions=400)), drawn(signal=2.0, seed=1, questions=800)
    assert found.loss == loss
    probability = 1 / (1 + np.exp(-found.head(fresh.states)))
    for low, high in ((0.0, 0.05), (0.05, 0.2), (0.2, 0.6), (0.6, 1.0)):
        among = (probability >= low) & (probability < high)
        assert among.sum() > 50
        assert fresh.relevant[among].mean() == pytest.approx(probability[among].mean(), abs=0.06)


def test_each_question_is_scored_by_a_head_that_has_not_seen_it():
    pairs = drawn(signal=1.0)
    found = fit_head(pairs)
    fold = fold_of(pairs.question)
    scores = np.empty(len(fold))
    for number, head in enumerate(found.of_fold):
        scores[fold == number] = head(pairs.states[fold == number])
    again = quality(scores, pairs)
    assert (again.r1, again.mrr) == (found.quality.r1, found.quality.mrr)


def test_the_standardisation_is_folded_into_the_head():
    pairs = drawn(signal=2.0)
    moved = Pairs(pairs.states * np.float16(4.0) + np.float16(8.0), pairs.relevant, pairs.question)
    assert fit_head(moved).head(moved.states) == pytest.approx(fit_head(pairs).head(pairs.states), abs=0.1)


def slow_auc(scores, relevant):
    pairs = [(a > b) + (a == b) / 2 for a in scores[relevant] for b in scores[~relevant]]
    return sum(pairs) / len(pairs)


def test_quality_equals_the_slow_obvious_one():
    pairs = drawn(signal=1.0)
    scores = np.round(pairs.states[:, 0].astype(np.float64), 1)
    found = quality(scores, pairs)
    assert found.auc == pytest.approx(slow_auc(scores, pairs.relevant))
    ranks = []
    for number in range(QUESTIONS):
        rows = [i for i in range(len(scores)) if pairs.question[i] == number]
        order = sorted(rows, key=lambda i: -scores[i])
        ranks.append(1 + next(place for place, i in enumerate(order) if pairs.relevant[i]))
    assert found.ranks == pytest.approx([1 / rank for rank in ranks])
    assert found.r1 == pytest.approx(np.mean([rank == 1 for rank in ranks]))


ODDS, RELEVANT = np.array([1.0, 2.0, -1.0, 0.5, 0.0]), np.array([False, True, False, True, True])
QUESTION = np.array([0, 0, 0, 1, 1])


def test_the_listwise_loss_is_the_share_of_the_relevant_in_the_softmax():
    shares = np.exp(ODDS[:3]) / np.exp(ODDS[:3]).sum()
    value, _ = listwise(ODDS, RELEVANT, QUESTION)
    assert value == pytest.approx(-np.log(shares[1]) / 2)


def test_the_pointwise_loss_is_the_logistic_one():
    probability = 1 / (1 + np.exp(-ODDS))
    value, _ = pointwise(ODDS, RELEVANT)
    assert value == pytest.approx(-np.log(np.where(RELEVANT, probability, 1 - probability)).mean())


@pytest.mark.parametrize("loss", [pointwise, lambda odds, relevant: listwise(odds, relevant, QUESTION)])
def test_slopes_are_those_of_small_steps(loss):
    _, slope = loss(ODDS, RELEVANT)
    for place in range(len(ODDS)):
        step = np.eye(len(ODDS))[place] * 1e-6
        rise = loss(ODDS + step, RELEVANT)[0] - loss(ODDS - step, RELEVANT)[0]
        assert slope[place] == pytest.approx(rise / 2e-6, abs=1e-6)


def of(auc, r1, ranks):
    return Quality(auc, r1, np.array(ranks))


OWN = of(0.8, 0.5, [1, 0.5, 1, 0.5])
GOOD = of(0.9, 0.75, [1, 1, 1, 0.5])


def test_the_earliest_layer_that_is_as_good_as_the_best_is_taken():
    assert choose_layer([(2, of(0.7, 0.9, [1] * 4)), (4, GOOD), (6, GOOD)], OWN) == (4, True)


def test_a_point_is_nothing_and_more_is_something():
    assert choose_layer([(2, of(0.891, 0.741, GOOD.ranks)), (4, GOOD)], GOOD) == (2, True)
    assert choose_layer([(2, of(0.889, 0.75, GOOD.ranks)), (4, GOOD)], GOOD) == (4, True)
    assert choose_layer([(2, of(0.9, 0.739, GOOD.ranks)), (4, GOOD)], GOOD) == (4, True)


def test_a_clearly_worse_layer_is_passed_over_though_it_loses_nothing():
    worse = of(0.8, 0.5, [0.25, 0.3, 0.25, 0.2])
    assert choose_layer([(2, worse), (4, GOOD)], OWN) == (4, True)


def test_where_every_layer_loses_something_the_best_is_taken_and_said_so():
    poor = of(0.7, 0.5, [1, 0.5, 1, 0.5])
    assert choose_layer([(2, of(0.6, 0.2, [0.2, 0.3, 0.2, 0.2])), (4, poor)], GOOD) == (4, False)
