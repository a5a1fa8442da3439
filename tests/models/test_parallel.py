"""Replicas on several devices give the scores and replies of one model, in order."""

from __future__ import annotations

import pytest
import torch

from rankrag.errors import ModelError
from rankrag.models import SamplingParams
from rankrag.models.fake import FakeLanguageModel
from rankrag.models.parallel import ParallelModel
from rankrag.models.reading import GPU_TIMES
from rankrag.opening import open_model
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Question, StateUse

LABELS = ["True", "False"]


@pytest.fixture(scope="module")
def two(tiny_model_dir):
    return open_model(str(tiny_model_dir), device="cpu, cpu", dtype="float32", state_cache="memory")


def prompts_of(model, questions=("why?", "and so?"), passages=5):
    return model.encode(
        [
            ranking_prompt(model.contract.format, Question(q, q), Passage(str(i), f"number {i} " * (3 * i % 7 + 1)))
            for q in questions
            for i in range(passages)
        ]
    )


def test_two_replicas_give_the_scores_of_one_in_order(two, tiny_model_dir):
    one = open_model(str(tiny_model_dir), device="cpu", dtype="float32")
    prompts = prompts_of(one)
    expected = one.choice_logprobs(prompts, LABELS)
    assert len({round(true - false, 3) for true, false in expected}) == len(prompts)
    for row, other in zip(two.choice_logprobs(prompts, LABELS), expected, strict=True):
        assert row == pytest.approx(other, abs=1e-4)
    params = SamplingParams(max_new_tokens=4)
    assert two.generate(prompts[:3], params) == one.generate(prompts[:3], params)
    assert "".join(two.stream(prompts[0], params)) == one.generate(prompts[:1], params)[0]


def test_a_passage_goes_where_its_state_is(two):
    two.choice_logprobs(prompts_of(two, ("what?",), 8), LABELS)
    before = two.info.states
    two.choice_logprobs(prompts_of(two, ("when?",), 8), LABELS)
    assert two.info.states - before == StateUse(8, 8)


@pytest.mark.parametrize("count", [0, 1, 3, 7])
def test_shares_are_even_whatever_their_number(count):
    replicas = [FakeLanguageModel(yes_if="number 1") for _ in range(3)]
    model = ParallelModel(replicas)
    prompts = prompts_of(model, ("why?",), count)
    rows = model.choice_logprobs(prompts, LABELS)
    assert [true > false for true, false in rows] == [i == 1 for i in range(count)]
    assert max(len(r.prompts) for r in replicas) <= -(-count // 3)


def test_a_model_without_states_says_none():
    assert ParallelModel([FakeLanguageModel()]).info.states is None


def test_a_cpu_and_a_model_that_does_not_say_are_asked_as_usual(two, monkeypatch):
    assert two.info.batch_multiplier == FakeLanguageModel().info.batch_multiplier == 1
    monkeypatch.setattr(two.replicas[0], "device", torch.device("cuda"))
    assert two.info.batch_multiplier == GPU_TIMES


def test_a_failure_of_one_replica_reaches_the_caller():
    class Broken(FakeLanguageModel):
        def choice_logprobs(self, prompts, choices):
            raise ModelError("the second device is gone")

    model = ParallelModel([FakeLanguageModel(), Broken()])
    with pytest.raises(ModelError, match="second device"):
        model.choice_logprobs(prompts_of(model), LABELS)
