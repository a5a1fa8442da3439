"""Retrieval-augmented QA: the gold passage among BM25's best, five in all, shuffled (paper, section 4.2.1)."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rankrag.blend.context_qa import answer_in
from rankrag.blend.mining import Mined
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
    source: Source, mined: Mined, *, lists: int | None, size: int, questions: int, rng: random.Random
) -> Iterator[PassageList]:
    """Yield up to `lists` lists of `size` passages: all gold passages of a record, then its BM25 negatives, shuffled.

    Up to `questions` records whose gold passages all stand in the list are answered from it; as refused ones come
    those that have the list's passages among their own negatives and nothing in it that answers them. Without `lists`
    every record that can gives one.
    """
    candidates = [
        (record, ids)
        for record, found in zip(source.records, mined, strict=True)
        if record.positives and record.question.answers
        for ids in [tuple(dict.fromkeys((*record.positives, *record.negatives, *found)))[:size]]
        if len(record.positives) < size == len(ids)
    ]
    of_gold, of_near = defaultdict[str, list[int]](list), defaultdict[str, list[int]](list)
    for number, (record, found) in enumerate(zip(source.records, mined, strict=True)):
        for i in record.positives:
            of_gold[i].append(number)
        for i in found[:3]:
            of_near[i].append(number)
    for seed, ids in rng.sample(candidates, len(candidates) if lists is None else min(lists, len(candidates))):
        shuffled = rng.sample(ids, size)
        passages = tuple(source.passages[i] for i in shuffled)
        answered = [r for r in _records(source, of_gold, ids) if r.question.answers and set(r.positives) <= set(ids)]
        refused = [r for r in _records(source, of_near, ids) if set(ids).isdisjoint(r.positives)]
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


def _records(source: Source, numbers: Mapping[str, Sequence[int]], ids: Sequence[str]) -> list[Record]:
    """Return the records that are listed under one of these passages, in the order of the source."""
    return [source.records[number] for number in sorted({n for i in ids for n in numbers.get(i, ())})]
