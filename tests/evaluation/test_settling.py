from __future__ import annotations

from rankrag.data.sets import Judged
from rankrag.evaluation.measuring import Settings, stopping_figures
from rankrag.evaluation.settling import settled_top
from rankrag.rerank import Judgement
from rankrag.types import Question

IDS = tuple(f"p{i}" for i in range(20))


def test_the_top_is_that_of_the_passages_judged():
    odds = dict.fromkeys(IDS, -3.0) | {"p1": 2.0, "p7": 4.0}
    judged = {name: Judgement(value, 0.5) for name, value in odds.items()}
    assert settled_top(IDS, judged, 1, 1.0) == (5, ("p1",))
    assert settled_top(IDS, judged, 1, 3.0) == (10, ("p7",))


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
