"""Batches that do not fit are halved, down to one prompt, and the scores stay what they are."""

from __future__ import annotations

import copy

import pytest
import torch

from rankrag.errors import ModelError
from rankrag.models import SamplingParams
from rankrag.models.memory import in_halves
from rankrag.models.state_cache import StateCache
from rankrag.models.transformers import TransformersModel
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Question

LABELS = ["True", "False"]
CPU_WORDS = (
    "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
)


@pytest.fixture
def model(tiny_model_dir):
    return TransformersModel(tiny_model_dir, device="cpu", dtype="float32")


@pytest.fixture
def fits(model, monkeypatch):
    """Let a forward pass run out of memory above so many tokens; return the sizes that were tried."""
    forward = model.model.model.forward

    def limit(tokens, error):
        tried = []

        def seen(**inputs):
            tried.append(inputs["input_ids"].numel())
            if tried[-1] > tokens:
                raise error
            return forward(**inputs)

        monkeypatch.setattr(model.model.model, "forward", seen)
        return tried

    return limit


def prompts_of(model, passages=6, questions=2):
    return model.encode(
        [
            ranking_prompt(
                model.contract.format, Question(str(j), "why " * (j + 1)), Passage(str(i), "word " * (9 + i))
            )
            for j in range(questions)
            for i in range(passages)
        ]
    )


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError(CPU_WORDS), MemoryError()]
)
def test_a_batch_that_does_not_fit_is_halved(model, fits, error):
    prompts = prompts_of(model)
    expected = torch.tensor(model.choice_logprobs(prompts, LABELS))
    budget = model.tokens_per_batch
    tried = fits(512, error)
    assert torch.allclose(torch.tensor(model.choice_logprobs(prompts, LABELS)), expected, atol=1e-4)
    assert max(tried) > 512
    assert model.tokens_per_batch < budget
    tried.clear()
    model.choice_logprobs(prompts, LABELS)
    assert max(tried) <= 512  # what was learnt is kept


def test_a_row_of_one_passage_is_split_down_to_one_question(model, fits):
    prompts = prompts_of(model, passages=1, questions=4)
    expected = torch.tensor(model.choice_logprobs(prompts, LABELS))
    encoded = prompts
    fits(max(map(len, encoded)), MemoryError())
    assert torch.allclose(torch.tensor(model.choice_logprobs(prompts, LABELS)), expected, atol=1e-4)


def test_rows_without_prefixes_are_halved_too(model, fits):
    encoded = prompts_of(model)
    expected = model.next_logprobs(encoded, [1, 2], sharing=False)
    fits(300, MemoryError())
    for row, other in zip(model.next_logprobs(encoded, [1, 2], sharing=False), expected, strict=True):
        assert row == pytest.approx(other, abs=1e-4)


def test_replies_are_written_in_smaller_batches(model, monkeypatch):
    prompts, params = prompts_of(model, 3, 1), SamplingParams(max_new_tokens=3)
    expected = model.generate(prompts, params)
    generate = model.model.generate

    def limited(**inputs):
        if len(inputs["input_ids"]) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return generate(**inputs)

    monkeypatch.setattr(model.model, "generate", limited)
    assert model.generate(prompts, params) == expected


def test_one_prompt_that_does_not_fit_is_a_model_error_with_a_remedy(model, fits):
    prompts = prompts_of(model)
    encoded = prompts
    fits(min(len(e) - len(e.segments[0]) for e in encoded) - 1, RuntimeError(CPU_WORDS))
    with pytest.raises(ModelError, match=r"one prompt alone \(.*can't allocate memory.*take --dtype bfloat16"):
        model.choice_logprobs(prompts, LABELS)


def test_kept_states_make_room(model, fits):
    prompts = prompts_of(model)
    model.states = StateCache()
    model.choice_logprobs(prompts[:2], LABELS)
    released = []
    states = copy.copy(model.states)
    states.release = lambda: released.append(True)
    model.states = states
    fits(400, MemoryError())
    model.choice_logprobs(prompts, LABELS)
    assert released


def test_other_errors_are_not_hidden():
    def fail(work):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        in_halves([1, 2], fail)


def test_the_order_of_the_work_is_kept():
    def at_most_two(work):
        if len(work) > 2:
            raise MemoryError
        return work

    assert in_halves(list(range(9)), at_most_two) == list(range(9))
