"""Retrieval-augmented QA: the gold passage among BM25's best, five in all, shuffled (paper, section 4.2.1)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rankrag.blend.context_qa import answer_in
from rankrag.blend.sources import Record, Source
from rankrag.matching import contains_any
from rankrag.templates import UNANSWERABLE
from rankrag.types import DataKind, Example, Passage


@dataclass(frozen=True, slots=True)
class PassageList:
    """A shuffled list of passages and the records that may be asked of it; the first one was the seed."""

    passages: tuple[Passage, ...]
    answered: tuple[Record, ...]
    refused: tuple[Record, ...]


def passage_lists(
    source: Source, mined: Sequence[Sequence[str]], *, lists: int, size: int, questions: int, rng: random.Random
) -> Iterator[PassageList]:
    """Yield up to `lists` lists of `size` passages: all gold passages of a record, then its BM25 negatives, shuffled.

    Up to `questions` records whose gold passages all stand in the list are answered from it; as refused ones come
    those that have the list's passages among their own negatives and nothing in it that answers them.
    """
    candidates = [
        (record, ids)
        for record, found in zip(source.records, mined, strict=True)
        if record.positives and record.question.answers
        for ids in [tuple(dict.fromkeys((*record.positives, *record.negatives, *found)))[:size]]
        if len(record.positives) < size == len(ids)
    ]
    for seed, ids in rng.sample(candidates, min(lists, len(candidates))):
        shuffled = rng.sample(ids, size)
        passages = tuple(source.passages[i] for i in shuffled)
        answered, refused = [], []
        for record, found in zip(source.records, mined, strict=True):
            if record.positives and record.question.answers and set(record.positives) <= set(ids):
                answered.append(record)
            elif set(ids) & set(found[:3]) and not set(record.positives) & set(ids):
                refused.append(record)
        others = [r for r in answered if r is not seed]
        answered = [seed, *rng.sample(others, min(questions - 1, len(others)))]
        refused = [r for r in refused if not any(contains_any(p.text, r.question.answers) for p in passages)]
        yield PassageList(passages, tuple(answered), tuple(rng.sample(refused, min(1, len(refused)))))


def retrieval_qa_examples(
    source: Source, of: PassageList, *, unanswerable: float, rng: random.Random
) -> Iterator[Example]:
    """Yield the answers of a list's records, and in `unanswerable` of cases a question that it does not answer."""
    text = "\n".join(p.text for p in of.passages)
    for record in of.answered:
        target = answer_in(record.question, text)
        yield Example(DataKind.RETRIEVAL_QA, source.name, record.question, of.passages, target)
    if of.refused and rng.random() < unanswerable:
        yield Example(DataKind.RETRIEVAL_QA, source.name, of.refused[0].question, of.passages, UNANSWERABLE)
