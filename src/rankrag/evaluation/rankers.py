"""Rankers of sentence-transformers, to compare language models with: cross-encoders and bi-encoders."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np

from rankrag.errors import ModelError
from rankrag.evaluation.systems import RankerKind
from rankrag.evaluation.work import JudgeFunction
from rankrag.rerank import Judgement
from rankrag.retrieval.forms import MINILM, packaged_minilm
from rankrag.templates import passage_text
from rankrag.types import Passage, Question


def open_ranker(kind: RankerKind, name: str) -> JudgeFunction:
    """Return a function that judges pairs; `ModelError` if the ranker cannot be opened.

    A cross-encoder's logit is a log-odds. A bi-encoder's cosine orders passages, but is no probability.
    """
    return _cross_encoder(name) if kind == "cross-encoder" else _bi_encoder(name)


def _cross_encoder(name: str) -> JudgeFunction:
    model = _opened("CrossEncoder", name)
    import torch

    if model.num_labels != 1:
        raise ModelError(f"{name}: gives {model.num_labels} scores a pair; a ranker gives one")

    def judge(pairs: Sequence[tuple[Question, Passage]]) -> list[Judgement]:
        texts = [(question.text, passage_text(passage)) for question, passage in pairs]
        logits = model.predict(texts, activation_fn=torch.nn.Identity(), show_progress_bar=False)
        return [Judgement(float(x), 1.0 / (1.0 + math.exp(min(-float(x), 700.0)))) for x in logits]

    return judge


def _bi_encoder(name: str) -> JudgeFunction:
    model = _opened("SentenceTransformer", str(packaged_minilm()) if name == MINILM else name)
    queries = partial(model.encode_query, normalize_embeddings=True, show_progress_bar=False)
    passages = partial(model.encode_document, normalize_embeddings=True, show_progress_bar=False)

    def judge(pairs: Sequence[tuple[Question, Passage]]) -> list[Judgement]:
        asked = _vectors(queries, [question.text for question, _ in pairs])
        read = _vectors(passages, [passage_text(passage) for _, passage in pairs])
        return [Judgement(float(asked[q.text] @ read[passage_text(p)]), 0.0) for q, p in pairs]

    return judge


def _vectors(encode: Callable[[list[str]], np.ndarray], texts: Sequence[str]) -> dict[str, np.ndarray]:
    distinct = list(dict.fromkeys(texts))
    return dict(zip(distinct, encode(distinct), strict=True))


def _opened(kind: Literal["CrossEncoder", "SentenceTransformer"], name: str) -> Any:
    import sentence_transformers

    try:
        return getattr(sentence_transformers, kind)(name)
    except (OSError, ValueError, RuntimeError) as error:
        raise ModelError(f"{name}: cannot be opened as a {kind} ({error}); give a directory or a hub id") from None
