from __future__ import annotations

import random

import pytest

from rankrag.contract import Contract
from rankrag.data.sets import Judged
from rankrag.fitting.selection import Case
from rankrag.fitting.settling import SettlingTrial, best_bound, settling_trial, settling_trials
from rankrag.rerank import BLOCK, NEVER, Judgement, settled_after
from rankrag.types import Passage, Question, ScoredPassage

IDS = tuple(f"p{i}" for i in range(20))
CANDIDATES = tuple(ScoredPassage(Passage(i, i), 0.0) for i in IDS)


def case(seed):
    rng = random.Random(seed)
    question = Judged(Question("q", "?"), (rng.choice(IDS[:12]),), {})
    return Case(question, (CANDIDATES,), {i: Judgement(rng.gauss(-2, 2), 0.5, rng.gauss(0, 1)) for i in IDS})


CASES = [case(seed) for seed in range(12)]
CONTRACT = Contract()


def top_of(judged, ids, k=5):
    """The best k of these passages, step by step."""
    return set(sorted(ids, key=lambda i: -judged[i].final)[:k])


def test_the_top_is_that_of_the_passages_judged():
    odds = dict.fromkeys(IDS, -3.0) | {"p1": 2.0, "p7": 4.0}
    question = Judged(Question("q", "?"), ("p7",), {})
    one = Case(question, (CANDIDATES,), {name: Judgement(value, 0.5) for name, value in odds.items()})
    assert settling_trial([one], CONTRACT, 1, 1.0) == SettlingTrial(1.0, BLOCK, 0.0)
    assert settling_trial([one], CONTRACT, 1, 3.0) == SettlingTrial(3.0, 2 * BLOCK, 1.0)


def test_judging_all_comes_first_and_is_exact():
    first, *rest = settling_trials(CASES, CONTRACT, 5)
    assert first.bound is None
    assert first.judged == 20
    exact = [float(set(c.question.gold) <= top_of(c.judged, IDS)) for c in CASES]
    assert first.recall == pytest.approx(sum(exact) / len(exact))
    assert [t.bound for t in rest] == sorted((t.bound for t in rest), reverse=True)
    assert [t.judged for t in rest] == sorted((t.judged for t in rest), reverse=True)
    assert rest[-1].bound == 0
    assert BLOCK <= rest[-1].judged < 20


def test_a_trial_is_what_judging_less_gives():
    for trial in settling_trials(CASES, CONTRACT, 5):
        bound = NEVER if trial.bound is None else trial.bound
        counts = [settled_after([j.log_odds for j in c.judged.values()], bound) for c in CASES]
        assert trial.judged == pytest.approx(sum(counts) / len(CASES))
        found = [c.question.gold[0] in top_of(c.judged, IDS[:n]) for c, n in zip(CASES, counts, strict=True)]
        assert trial.recall == pytest.approx(sum(found) / len(CASES))


def trials(*recalls):
    return [SettlingTrial(None if not i else -float(i), 20.0 - i, r) for i, r in enumerate(recalls)]


@pytest.mark.parametrize(
    ("recalls", "bound"),
    [((0.8, 0.8, 0.8, 0.7), -2.0), ((0.8, 0.7, 0.9), None), ((0.8,), None), ((0.8, 0.9, 0.796), -2.0)],
)
def test_the_lowest_bound_is_taken_above_which_none_loses(recalls, bound):
    assert best_bound(trials(*recalls)) == bound


@pytest.mark.parametrize("count", [4, 6, 19])
def test_questions_with_few_candidates_have_all_of_them_judged(count):
    question = Judged(Question("q", "?"), ("p0",), {})
    short = Case(question, (CANDIDATES[:count],), dict.fromkeys(IDS, Judgement(0.0, 0.5)))
    assert settling_trials([short], CONTRACT, 5) == (SettlingTrial(None, float(count), 1.0),)
