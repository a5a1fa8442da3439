from __future__ import annotations

import pytest
import torch

from rankrag.ablation.testing import open_exam, reply_losses
from rankrag.data.progress import quiet
from rankrag.errors import ConfigError
from rankrag.models.transformers import TransformersModel
from rankrag.templates import render


@pytest.fixture(scope="module")
def exam_of(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exam")
    return lambda study: open_exam(study, folder, quiet)


def test_the_exam_is_drawn_from_questions_whose_gold_passage_bm25_finds(study_of, exam_of):
    exam = exam_of(study_of())
    (asked,) = exam.sets
    assert len(asked.questions) == 6
    for of in asked.questions:
        assert len(asked.passages[of.question.id]) == 3
        assert set(of.gold) & set(asked.passages[of.question.id])
    assert exam == exam_of(study_of())


def test_instructions_are_held_back_ones(study_of, exam_of):
    study = study_of()
    held = {example.question.id for example in exam_of(study).instructions}
    assert len(held) == 5
    with pytest.raises(ConfigError, match="are held back from"):
        exam_of(study_of(instructions=39))


def test_more_questions_than_there_are_is_an_error(study_of, exam_of):
    with pytest.raises(ConfigError, match="squad has 8 with a gold passage among BM25's first 3, not 9"):
        exam_of(study_of(questions={"squad": 9}))


def test_the_loss_of_a_reply_is_that_of_a_plain_forward_pass(study_of, exam_of, tiny_model_dir):
    model = TransformersModel(tiny_model_dir, dtype="float32")
    instructions = exam_of(study_of()).instructions
    found = reply_losses(model, instructions, quiet)
    assert list(found) == [f"chat/{example.question.id}" for example in instructions]
    for example, loss in zip(instructions, found.values(), strict=True):
        prompt, target = render(model.contract.format, example)
        (encoded,) = model.encoder.encode([prompt])
        wanted = model.encoder.encode_target(target)
        with torch.no_grad():
            logits = model.model(torch.tensor([[*encoded.ids, *wanted]])).logits[0].log_softmax(-1)
        steps = [float(-logits[len(encoded.ids) + i - 1, token]) for i, token in enumerate(wanted)]
        assert loss == pytest.approx(sum(steps) / len(steps), abs=1e-4)
