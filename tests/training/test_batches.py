from __future__ import annotations

import random

import torch
from hypothesis import given
from hypothesis import strategies as st

from rankrag.training.batches import attention_mask, by_examples, pack, plan, to_batch
from rankrag.training.rows import Row, Tail
from rankrag.types import DataKind


def tailed(tails, number=0):
    return Row((number,), [Tail((i,), (i,), 1.0, DataKind.SFT) for i in range(tails)])


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(0, 5))
def test_packing_covers_each_row_once_and_never_overflows(lengths, seed):
    rows = [Row(tuple(range(length))) for length in lengths]
    batches = pack(rows, tokens=60, rng=random.Random(seed), window=16)
    assert sorted(id(row) for batch in batches for part in batch for row in part) == sorted(map(id, rows))
    for batch in batches:
        assert len(batch) * max(sum(map(len, part)) for part in batch) <= 60


@given(st.lists(st.integers(1, 7), min_size=1, max_size=30), st.integers(1, 9))
def test_steps_of_examples_hold_exactly_that_many_and_every_example_once(sizes, count):
    rows = [tailed(size, number) for number, size in enumerate(sizes)]
    steps = list(by_examples(rows, count))
    found = [sum(len(row.tails) for row in step) for step in steps]
    assert found[:-1] == [count] * (len(found) - 1)
    assert 0 < found[-1] <= count
    seen = [(row.prefix, t.ids) for step in steps for row in step for t in row.tails]
    assert seen == [(row.prefix, t.ids) for row in rows for t in row.tails]


def plan_of(**settings):
    usual = {"tokens": 60, "batches_per_step": 1, "examples_per_step": None, "max_steps": -1, "seed": 0}
    return plan([tailed(3, i) for i in range(20)], **usual | settings)


def test_a_step_of_the_papers_size_is_cut_into_batches_that_fit():
    steps = plan_of(examples_per_step=16, max_steps=10)
    assert [step.kinds.total() for step in steps] == [16, 16, 16, 12] * 2 + [16, 16]
    assert all(sum(map(len, part)) <= 60 // len(batch) for s in steps for batch in s.batches for part in batch)


def test_a_step_of_several_batches_weighs_what_they_weigh_together():
    one, two = plan_of(), plan_of(batches_per_step=2)
    assert len(two) == -(-len(one) // 2)
    assert two[0].weight == one[0].weight + one[1].weight


def test_the_plan_is_the_same_for_the_same_seed_only():
    def order(seed):
        return [row.prefix for step in plan_of(seed=seed) for b in step.batches for part in b for row in part]

    assert order(1) == order(1) != order(2)


def test_a_token_sees_its_prefix_and_its_own_tail_only(rows_of, examples_of):
    rows = rows_of(examples_of(passages=2, questions=2))
    batch = to_batch([rows], sum(map(len, rows)), 0)
    seen = attention_mask(batch, torch.float32)[0, 0] == 0
    member, tail = batch.member[0].tolist(), batch.tail[0].tolist()
    for i in range(0, len(member), 7):
        for j in range(len(member)):
            expected = j <= i and member[i] == member[j] and tail[j] in (0, tail[i])
            assert bool(seen[i, j]) == expected
