from __future__ import annotations

import math

import numpy as np
import pytest

from rankrag.errors import ModelError
from rankrag.evaluation.rankers import open_ranker
from rankrag.models.model_key import ranker_key
from rankrag.templates import passage_text
from rankrag.types import Passage, Question

PAIRS = [
    (Question("q1", "which river is golden"), Passage("a", "the tagus river", "Tagus")),
    (Question("q1", "which river is golden"), Passage("b", "a lake without a stream")),
    (Question("q2", "what is a hill"), Passage("a", "the tagus river", "Tagus")),
]
SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def tokenizer(tokenizer_with):
    """A tokenizer of an encoder: with a chat template, pairs would become conversations."""
    return tokenizer_with(None)


@pytest.fixture(scope="module")
def encoder_of(tokenizer, tmp_path_factory):
    """Write a tiny random BERT with `labels` scores a pair, or without a head."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertModel

    def make(labels=None):
        torch.manual_seed(0)
        folder = tmp_path_factory.mktemp("bert")
        config = BertConfig(
            vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, initializer_range=0.5, **SIZES
        )
        config.num_labels = labels or 2
        model = BertForSequenceClassification(config) if labels else BertModel(config)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make


def test_a_cross_encoder_gives_its_logit_as_log_odds(encoder_of, tokenizer):
    import torch
    from transformers import BertForSequenceClassification

    folder = encoder_of(labels=1)
    judged = open_ranker("cross-encoder", str(folder))(PAIRS)
    plain = BertForSequenceClassification.from_pretrained(folder).eval()
    for (question, passage), found in zip(PAIRS, judged, strict=True):
        inputs = tokenizer(question.text, passage_text(passage), return_tensors="pt")
        with torch.no_grad():
            logit = float(plain(**inputs).logits[0, 0])
        assert found.log_odds == pytest.approx(logit, abs=1e-4)
        assert found.probability == pytest.approx(1 / (1 + math.exp(-logit)), abs=1e-4)
    assert len({round(j.log_odds, 4) for j in judged}) == 3


def test_a_bi_encoder_gives_the_cosine_of_question_and_passage(encoder_of):
    from sentence_transformers import SentenceTransformer

    folder = encoder_of()
    judged = open_ranker("bi-encoder", str(folder))(PAIRS)
    plain = SentenceTransformer(str(folder))
    for (question, passage), found in zip(PAIRS, judged, strict=True):
        a, b = plain.encode_query(question.text), plain.encode_document(passage_text(passage))
        assert found.log_odds == pytest.approx(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)), abs=1e-4)


def test_a_ranker_that_cannot_be_one_says_so(encoder_of, tmp_path):
    with pytest.raises(ModelError, match="gives 3 scores a pair"):
        open_ranker("cross-encoder", str(encoder_of(labels=3)))
    with pytest.raises(ModelError, match="cannot be opened as a CrossEncoder"):
        open_ranker("cross-encoder", str(tmp_path))


def test_a_rankers_journal_is_its_own(encoder_of):
    one, other = str(encoder_of(labels=1)), str(encoder_of(labels=1))
    keys = {ranker_key("cross-encoder", one), ranker_key("cross-encoder", other), ranker_key("bi-encoder", one)}
    assert len(keys) == 3
    assert ranker_key("cross-encoder", one) in keys
