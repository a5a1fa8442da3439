from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest

from experiments.ablation.models import asked_alone, made, part_of, result_of, run_of
from rankrag.training.checkpoints import all_checkpoints
from rankrag.types import DataKind, Example, Passage, Question


@dataclass
class Keeping:
    """What a part is made by."""

    keep: dict[str, float] = field(default_factory=dict)
    split_lists: bool = False
    candidates: int | None = None
    seed: int = 0


@pytest.fixture(scope="module")
def examples():
    """Four examples of each of 400 passages of two sources, and 400 instructions."""
    ranked = [
        Example(kind, source, Question(f"q{n}{label}", "why?"), (Passage(f"{source}{n}", "text"),), label)
        for n in range(200)
        for source in ("a", "b")
        for kind, label in (
            (DataKind.CONTEXT_RANKING, "True"),
            (DataKind.CONTEXT_RANKING, "False"),
            (DataKind.CONTEXT_QA, "x"),
        )
    ]
    return ranked + [Example(DataKind.SFT, "c", Question(f"i{n}", "hi"), (), "ho") for n in range(400)]


def counts(examples):
    return Counter((e.source, str(e.kind)) for e in examples)


def test_nothing_said_keeps_all_in_order(examples):
    assert list(part_of(examples, Keeping())) == examples


def test_a_kind_is_left_out_and_the_others_stay_as_they_were(examples):
    left = list(part_of(examples, Keeping({"context_ranking": 0})))
    assert left == [e for e in examples if e.kind is not DataKind.CONTEXT_RANKING]


def test_shares_of_kind_and_source_multiply(examples):
    found = counts(part_of(examples, Keeping({"context_ranking": 0.5, "a": 0.5, "b/context_qa": 0.1, "sft": 0.2})))
    assert found["a", "context_ranking"] == pytest.approx(100, abs=36)
    assert found["a", "context_qa"] == pytest.approx(100, abs=27)
    assert found["b", "context_ranking"] == pytest.approx(200, abs=54)
    assert found["b", "context_qa"] == pytest.approx(20, abs=15)
    assert found["c", "sft"] == pytest.approx(80, abs=28)


def test_examples_of_a_passage_stay_together(examples):
    kept = Counter(e.contexts[0].id for e in part_of(examples, Keeping({"a": 0.3})) if e.source == "a")
    assert set(kept.values()) == {3}


def test_a_smaller_share_is_part_of_a_larger_one(examples):
    kept = [{id(e) for e in part_of(examples, Keeping({"a": share}))} for share in (0.01, 0.1, 0.5)]
    assert kept[0] < kept[1] < kept[2]


def test_another_seed_keeps_others(examples):
    assert list(part_of(examples, Keeping({"a": 0.3}))) != list(part_of(examples, Keeping({"a": 0.3}, seed=1)))


def test_a_list_is_asked_passage_by_passage():
    passages = tuple(Passage(str(n), f"text {n}") for n in range(5))
    asked = Example(DataKind.RETRIEVAL_QA, "s", Question("q", "why?"), passages, "because")
    alone = list(asked_alone(asked))
    assert [e.contexts for e in alone] == [(p,) for p in passages]
    assert {(e.kind, e.question.id, e.target) for e in alone} == {(DataKind.CONTEXT_QA, "q", "because")}
    other = Example(DataKind.RETRIEVAL_RANKING, "s", Question("q", "why?"), passages, "Passage 1")
    assert list(asked_alone(other)) == [other]


def test_a_training_that_was_killed_goes_on_from_its_checkpoint(study_of, tmp_path):
    recipe = study_of(train_keys={"save_steps": 1}).rows[0].recipe

    def kill(done, total):
        if total == 3 and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(recipe, tmp_path, say=quiet_line, report=kill)
    assert all_checkpoints(run_of(recipe, tmp_path))
    assert not result_of(recipe, tmp_path).exists()
    steps: list[int] = []
    made(recipe, tmp_path, say=quiet_line, report=lambda done, _: steps.append(done))
    assert steps[0] > 1  # not from the start, and stage I not at all
    assert result_of(recipe, tmp_path).is_dir()
    assert not all_checkpoints(run_of(recipe, tmp_path))


def quiet_line(line):
    """Say nothing."""
