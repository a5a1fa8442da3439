from __future__ import annotations

import random

import pytest

from rankrag.data.sets import Judged
from rankrag.evaluation.measuring import Settings, stopping_figures
from rankrag.evaluation.selection import Case
from rankrag.evaluation.settling import SettlingTrial, best_bound, judged_until_settled, settling_trials
from rankrag.evaluation.work import finals, reordered
from rankrag.rerank import BLOCK, NEVER, Judgement
from rankrag.types import Question

IDS = tuple(f"p{i}" for i in range(20))


def case(seed):
    rng = random.Random(seed)
    return Case(
        (rng.choice(IDS[:12]),), (IDS,), {name: Judgement(rng.gauss(-2, 2), 0.5, rng.gauss(0, 1)) for name in IDS}
    )


CASES = [case(seed) for seed in range(12)]


def test_candidates_are_judged_block_by_block_until_the_top_is_settled():
    odds = dict.fromkeys(IDS, -3.0) | {"p6": 2.0, "p7": 1.0}
    judged = {name: Judgement(of, 0.5, added=9.0) for name, of in odds.items()}  # what is added does not count
    assert judged_until_settled(IDS, judged, 1, 0.0) == IDS[: 2 * BLOCK]
    assert judged_until_settled(IDS, judged, 3, 0.0) == IDS


def test_judging_all_comes_first_and_is_exact():
    first, *rest = settling_trials(CASES, 5)
    assert (first.bound, first.judged, first.same) == (None, 20, 1.0)
    exact = [float(set(c.gold) <= set(reordered(IDS, finals(c.judged))[:5])) for c in CASES]
    assert first.recall == pytest.approx(sum(exact) / len(exact))
    assert [t.bound for t in rest] == sorted((t.bound for t in rest), reverse=True)
    assert [t.judged for t in rest] == sorted((t.judged for t in rest), reverse=True)
    assert rest[-1].judged == BLOCK


def test_a_trial_is_what_judging_less_gives():
    for trial in settling_trials(CASES, 5):
        bound = NEVER if trial.bound is None else trial.bound
        judged = [judged_until_settled(IDS, c.judged, 5, bound) for c in CASES]
        assert trial.judged == pytest.approx(sum(map(len, judged)) / len(CASES))
        tops = [set(reordered(ids, finals(c.judged))[:5]) for ids, c in zip(judged, CASES, strict=True)]
        assert trial.recall == pytest.approx(sum(c.gold[0] in top for c, top in zip(CASES, tops, strict=True)) / 12)


def trials(*recalls):
    return [SettlingTrial(None if not i else -float(i), 20.0 - i, r, 1.0) for i, r in enumerate(recalls)]


@pytest.mark.parametrize(
    ("recalls", "bound"),
    [((0.8, 0.8, 0.8, 0.7), -2.0), ((0.8, 0.7, 0.9), None), ((0.8,), None), ((0.8, 0.9, 0.796), -2.0)],
)
def test_the_lowest_bound_is_taken_above_which_none_loses(recalls, bound):
    assert best_bound(trials(*recalls)) == bound


def test_questions_with_few_candidates_have_all_of_them_judged():
    short = Case(("p0",), (IDS[:4],), dict.fromkeys(IDS, Judgement(0.0, 0.5)))
    assert settling_trials([short], 5) == (SettlingTrial(None, 4.0, 1.0, 1.0),)


class Naming:
    """Answers with the id of the first passage."""

    def replies(self, asked):
        return [ids[0] for _, ids in asked]


def test_what_stopping_costs_is_counted_at_each_bound():
    odds = dict.fromkeys(IDS, -1.0) | {"p1": 2.5, "p7": 4.5}
    asked = Judged(Question("q", "which?", answers=("p7",)), ("p7",), {})
    judged = {"q": {name: Judgement(of, 0.5) for name, of in odds.items()}}
    settings = Settings(n=12, k=1)
    found = stopping_figures(Naming(), [asked], {"q": IDS}, judged, settings, answered=True)
    rows = [(of.bound, of.judged, of.recall.mean, of.same, of.em.mean) for of in found]
    assert rows == [
        (None, 12, 1, 1, 1),
        (4.0, 10, 1, 1, 1),
        (3.0, 10, 1, 1, 1),
        (2.0, 5, 0, 0, 0),
        (1.0, 5, 0, 0, 0),
        (0.0, 5, 0, 0, 0),
    ]
    unanswered = stopping_figures(Naming(), [asked], {"q": IDS}, judged, settings, answered=False)
    assert [of.em for of in unanswered] == [None] * 6
