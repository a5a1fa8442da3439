"""Passages that give orders are never gold, and no target follows them."""

from __future__ import annotations

import random

import pytest

from rankrag.blend.kinds import source_groups
from rankrag.blend.mining import mine
from rankrag.blend.orders import ORDERS, order_to_rank, with_orders
from rankrag.blend.sources import QuestionSet, Record
from rankrag.config.blend import BlendConfig, SourceConfig
from rankrag.types import DataKind, Passage, Question

TOWNS = ("Ashford", "Burton", "Corby", "Derby", "Epsom", "Frome")
KINDS = frozenset({DataKind.CONTEXT_RANKING, DataKind.RETRIEVAL_QA})


@pytest.fixture
def towns():
    """Six questions, each answered by a passage of its own."""
    passages = [
        Passage(f"p{i}", f"The river number {i} flows past the town of {town}.") for i, town in enumerate(TOWNS)
    ]
    records = [
        Record(Question(f"q{i}", f"Which town lies on the river number {i}?", answers=(town,)), (f"p{i}",))
        for i, town in enumerate(TOWNS)
    ]
    return QuestionSet("towns", tuple(records), {p.id: p for p in passages})


def test_the_passage_that_holds_the_answer_stays_and_the_other_says_something_false(towns):
    shown = [towns.passages["p0"], towns.passages["p1"]]
    for seed in range(40):
        kept, changed = with_orders(towns, shown, towns.records[:1], random.Random(seed))
        assert kept == shown[0]
        assert changed.id == "p1"
        assert "Ashford" not in changed.text


def test_a_list_in_which_every_passage_answers_something_stays_as_it_is(towns):
    shown = tuple(towns.passages.values())[:2]
    assert with_orders(towns, shown, towns.records[:2], random.Random(0)) == shown


def test_a_passage_that_only_claims_to_answer_is_ranked_false(towns):
    made = [e for seed in range(40) for e in order_to_rank(towns, towns.records[0], random.Random(seed))]
    assert {e.target for e in made} == {"False"}
    assert not [e for e in made if "Ashford" in e.contexts[0].text]
    assert len({e.contexts[0].text for e in made}) > 20


@pytest.mark.parametrize(("share", "expected"), [(0.0, False), (1.0, True)])
def test_a_source_gets_them_only_if_it_asks_for_them(towns, share, expected):
    wanted = SourceConfig(name="towns", rows="towns.jsonl", orders=share, list_questions=1)
    groups = source_groups(BlendConfig(list_size=3), wanted, towns, mine(towns, 5), KINDS, random.Random(1))
    examples = [example for group in groups for example in group]
    own = {p.text for p in towns.passages.values()}
    for kind in KINDS:
        assert any(p.text not in own for e in examples if e.kind == kind for p in e.contexts) == expected
    answered = [e for e in examples if e.kind == DataKind.RETRIEVAL_QA]
    assert {e.target for e in answered} <= {*TOWNS, "Sorry. I cannot find the answer based on the context."}


def test_the_orders_differ_from_those_that_the_experiment_attacks_with():
    from experiments.injection import ATTACKS, GOAL

    assert {order.format(answer=GOAL) for order in ORDERS}.isdisjoint(ATTACKS)
