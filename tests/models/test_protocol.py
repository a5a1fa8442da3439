"""What is asked of a language model beyond its protocol is asked only of one that has it."""

from __future__ import annotations

from rankrag.models import passages_cut, prompt_encoder
from rankrag.models.fake import FakeLanguageModel
from rankrag.types import Segment


class OwnModel(FakeLanguageModel):
    """Calls its tokenizer as it likes."""

    encoder = "a tokenizer"


def test_an_encoder_of_another_kind_is_not_asked_for_prompts():
    model = OwnModel()
    assert prompt_encoder(model) is None
    prompt = (Segment("fixed", "Passage: "), Segment("passage", "A hill."), Segment("text", "Which hill?"))
    assert passages_cut(model, [prompt]) == [(False,)]
