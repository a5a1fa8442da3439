"""Context-rich QA: the gold passage and its question (paper, section 4.2.1), and passages that do not answer."""

from __future__ import annotations

import random
from collections.abc import Iterator

from rankrag.blend.context_ranking import Neighbours
from rankrag.blend.sources import Source
from rankrag.matching import contains
from rankrag.templates import UNANSWERABLE
from rankrag.types import DataKind, Example, Question


def qa_examples(
    source: Source, near: Neighbours, *, questions: int, unanswerable: float, max_words: int, rng: random.Random
) -> Iterator[Example]:
    """Yield at most `questions` answered examples of one passage, and one refused example in `unanswerable` of cases.

    The target is the first reference that stands in the passage, else the first; longer ones than `max_words` are
    left out and counted in `dropped`.
    """
    for record in rng.sample(near.positive, min(questions, len(near.positive))):
        target = answer_in(record.question, near.passage.text)
        if not target:
            source.dropped["no answer"] += 1
        elif len(target.split()) > max_words:
            source.dropped[f"answer longer than {max_words} words"] += 1
        else:
            yield Example(DataKind.CONTEXT_QA, source.name, record.question, (near.passage,), target)
    refused = [r for r in near.hard if near.passage.id in r.near] or list(near.hard)
    if refused and rng.random() < unanswerable:
        record = rng.choice(refused)
        yield Example(DataKind.CONTEXT_QA, source.name, record.question, (near.passage,), UNANSWERABLE)


def answer_in(question: Question, text: str) -> str:
    """Return the reference answer to train on for this text, "" where there is none."""
    return next((a for a in question.answers if contains(text, a)), next(iter(question.answers), ""))
