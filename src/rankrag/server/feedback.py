"""A person's judgement of an answer, kept as a row that `rankrag blend` reads (docs/data.md)."""

from __future__ import annotations

import time
import uuid
from typing import Any

from pydantic import BaseModel, Field

REFUSED = "the answer was not helpful"
UNCITED = "the answer cites no passage"


class RatedPassage(BaseModel):
    """A passage that an answer was written from; `cited` says that a sentence of the answer names it."""

    id: str = Field("", max_length=10_000)
    title: str = Field("", max_length=10_000)
    text: str = Field(max_length=1_000_000)
    cited: bool = False


class Turn(BaseModel):
    """An earlier turn of the conversation."""

    role: str = Field(max_length=20)
    content: str = Field(max_length=100_000)


class Feedback(BaseModel):
    """A judgement: `good` says that the answer was helpful."""

    question: str = Field(min_length=1, max_length=100_000)
    answer: str = Field(max_length=100_000)
    good: bool
    passages: list[RatedPassage] = Field(default_factory=list, max_length=100)
    history: list[Turn] = Field(default_factory=list, max_length=1000)
    collection: str = ""


def training_row(feedback: Feedback, collection: str) -> dict[str, Any]:
    """Return a question with its answer and, as candidates, the cited passages, which are relevant.

    Where nothing is known to be right, `left_out` says why: a blend counts such rows and passes them over.
    """
    row: dict[str, Any] = {
        "id": uuid.uuid4().hex,
        "question": feedback.question,
        "history": [turn.model_dump() for turn in feedback.history if turn.role in ("user", "assistant")],
        "answer": feedback.answer,
        "good": feedback.good,
        "collection": collection,
        "time": int(time.time()),
    }
    shown = [(p, {"id": p.id, "title": p.title, "text": p.text}) for p in feedback.passages if p.text.strip()]
    cited = [passage | {"label": 1} for p, passage in shown if p.cited]
    if not feedback.good or not cited:
        return row | {"candidates": [p for _, p in shown], "left_out": UNCITED if feedback.good else REFUSED}
    return row | {"answers": [feedback.answer], "candidates": cited}
