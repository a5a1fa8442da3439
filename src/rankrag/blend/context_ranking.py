"""Context ranking: one passage, one question, `True` or `False` (paper, section 4.2.1).

Built passage by passage, all questions about a passage stand together, so that training reads the passage once
(`training.rows`); question by question, all candidates of a question do, so that a listwise loss has them to compare.
Negatives are BM25's hard ones and random ones side by side: from hard ones alone a small model learns nothing at first
(docs/deviations.md).
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rankrag.blend.false_negatives import is_negative
from rankrag.blend.mining import Mined
from rankrag.blend.sources import Record, Source
from rankrag.types import DataKind, Example, Passage


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The records of one passage: those it answers, and those for which it is a hard negative."""

    passage: Passage
    positive: tuple[Record, ...]
    hard: tuple[Record, ...]


def neighbours(source: Source, mined: Mined) -> list[Neighbours]:
    """Return every passage of the source that some record points at, in the order of the source's passages."""
    positive: dict[str, list[Record]] = defaultdict(list)
    hard: dict[str, list[Record]] = defaultdict(list)
    for record, found in zip(source.records, mined, strict=True):
        for i in record.positives:
            positive[i].append(record)
        for i in dict.fromkeys((*record.negatives, *record.near, *found)):
            hard[i].append(record)
    return [
        Neighbours(passage, tuple(positive[i]), tuple(hard[i]))
        for i, passage in source.passages.items()
        if i in positive or i in hard
    ]


def ranking_examples(
    source: Source, near: Neighbours, *, questions: int, hard: float, random_share: float, rng: random.Random
) -> Iterator[Example]:
    """Yield the ranking examples of one passage.

    At most `questions` positives; for each of them `hard` hard and `random_share` random negatives on average. A
    passage without a positive counts as if it had one. A random one that the passage may answer is left out.
    """
    positives = rng.sample(near.positive, min(questions, len(near.positive)))
    amount = max(1, len(positives))
    negatives = rng.sample(near.hard, min(_about(hard * amount, rng), len(near.hard)))
    others = [rng.choice(source.records) for _ in range(_about(random_share * amount, rng))]
    negatives += [other for other in others if is_negative(source, other, near.passage.id, "random")]
    for record, label in [(r, "True") for r in positives] + [(r, "False") for r in negatives]:
        yield Example(DataKind.CONTEXT_RANKING, source.name, record.question, (near.passage,), label)


def candidate_examples(
    source: Source,
    record: Record,
    found: Sequence[str],
    passages: Sequence[str],
    *,
    hard: float,
    random_share: float,
    rng: random.Random,
) -> list[Example]:
    """Return the ranking examples of one question: its relevant passages, and negatives for each of them.

    For each relevant one, or as if there were one, `hard` hard negatives and `random_share` random ones of `passages`,
    the ids of the source's, on average. Hard ones are first those that the row names, then those that were `found` by
    mining. A random one that may answer is left out.
    """
    amount = max(1, len(record.positives))
    named = dict.fromkeys((*record.negatives, *record.near))
    others = [i for i in found if i not in named]
    negatives = [*rng.sample(list(named), len(named)), *rng.sample(others, len(others))]
    chosen = [i for i in negatives if i not in record.positives][: _about(hard * amount, rng)]
    for other in [rng.choice(passages) for _ in range(_about(random_share * amount, rng))]:
        if other not in chosen and is_negative(source, record, other, "random"):
            chosen.append(other)
    return [
        Example(DataKind.CONTEXT_RANKING, source.name, record.question, (source.passages[i],), label)
        for i, label in [(i, "True") for i in record.positives] + [(i, "False") for i in chosen]
    ]


def _about(expected: float, rng: random.Random) -> int:
    """Round up or down at random, so that the mean is `expected`."""
    return int(expected) + (rng.random() < expected % 1)
