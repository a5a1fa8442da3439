from __future__ import annotations

import pytest
import torch

from experiments.ablation.exam import instructions_of, question_sets, reply_losses
from rankrag.data.progress import quiet
from rankrag.errors import ConfigError
from rankrag.evaluation.first_stage import FirstStage
from rankrag.models.transformers import TransformersModel
from rankrag.templates import example_prompt


def test_questions_are_drawn_from_those_whose_gold_passage_bm25_finds(study_of, tmp_path):
    (test_set,) = question_sets(study_of(), tmp_path, quiet)
    ranking = FirstStage(test_set, tmp_path).ids("bm25")
    assert len(test_set.questions) == 6
    assert all(set(q.gold) & set(ranking[q.question.id][:3]) for q in test_set.questions)
    (again,) = question_sets(study_of(), tmp_path, quiet)
    assert again.questions == test_set.questions


def test_instructions_are_held_back_ones(study_of):
    held = {example.question.id for example in instructions_of(study_of())}
    assert len(held) == 5
    with pytest.raises(ConfigError, match="are held back from"):
        instructions_of(study_of(instructions=39))


def test_more_questions_than_there_are_is_an_error(study_of, tmp_path):
    with pytest.raises(ConfigError, match="squad has 8 with a gold passage in the first n, not 9"):
        question_sets(study_of(questions={"squad": 9}), tmp_path, quiet)


def test_the_loss_of_a_reply_is_that_of_a_plain_forward_pass(study_of, tiny_model_dir):
    model = TransformersModel(tiny_model_dir, dtype="float32")
    instructions = instructions_of(study_of())
    found = reply_losses(model, instructions, quiet)
    assert list(found) == [f"chat/{example.question.id}" for example in instructions]
    for example, loss in zip(instructions, found.values(), strict=True):
        prompt, target = example_prompt(model.contract.format, example)
        (encoded,) = model.encoder.encode([prompt])
        wanted = model.encoder.encode_target(target)
        with torch.no_grad():
            logits = model.model(torch.tensor([[*encoded.ids, *wanted]])).logits[0].log_softmax(-1)
        steps = [float(-logits[len(encoded.ids) + i - 1, token]) for i, token in enumerate(wanted)]
        assert loss == pytest.approx(sum(steps) / len(steps), abs=1e-4)
