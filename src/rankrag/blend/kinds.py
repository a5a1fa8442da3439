"""The kinds of training data (paper, section 4.2 and table 1), made from the records of one source.

Ranking examples are built passage by passage: all questions about a passage stand together, so that training reads the
passage once (`training.rows`). Or question by question: all candidates of a question stand together. Negatives are
BM25's hard ones and random ones side by side, because from hard ones alone a small model learns nothing at first
(docs/deviations.md).
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rankrag.blend.mining import Mined, is_negative
from rankrag.blend.sources import QuestionSet, Record
from rankrag.config.blend import BlendConfig, SourceConfig
from rankrag.data.progress import Progress, quiet, watched
from rankrag.matching import contains, contains_any
from rankrag.templates import UNANSWERABLE, list_ranking_target
from rankrag.types import DataKind, Example, Passage, Question

PASSAGE_KINDS = frozenset({DataKind.CONTEXT_QA, DataKind.CONTEXT_RANKING})
LIST_KINDS = frozenset({DataKind.RETRIEVAL_QA, DataKind.RETRIEVAL_RANKING})
"""The kinds over one passage, and over lists of passages; `sft` has no passages."""

MAX_ANSWER_WORDS = 40
"""Words of a QA target, unless the configuration says otherwise."""


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The records of one passage: those that it answers, and those for which it is a hard negative."""

    passage: Passage
    positive: tuple[Record, ...]
    hard: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class PassageList:
    """A shuffled list of passages and the records that may be asked about it; the first answered one was the seed."""

    passages: tuple[Passage, ...]
    answered: tuple[Record, ...]
    refused: tuple[Record, ...]


def source_groups(
    config: BlendConfig,
    wanted: SourceConfig,
    source: QuestionSet,
    mined: Mined,
    kinds: frozenset[DataKind],
    rng: random.Random,
    progress: Progress = quiet,
) -> Iterator[list[Example]]:
    """Yield the examples of one source; those that share their passages come together."""
    if DataKind.SFT in kinds:
        yield from ([example] for example in sft_examples(source))
    if DataKind.CONTEXT_RANKING in kinds and wanted.ranking_by == "question":
        kinds -= {DataKind.CONTEXT_RANKING}
        pairs, ids = list(zip(source.records, mined, strict=True)), tuple(source.passages)
        for record, found in watched(pairs, progress, f"{source.name}: drawing candidates of questions", len(pairs)):
            yield candidate_examples(source, wanted, record, found, ids, rng)
    if kinds & PASSAGE_KINDS:
        chosen = _chosen(wanted, neighbours(source, mined), rng)
        for near in watched(chosen, progress, f"{source.name}: drawing from passages", len(chosen)):
            examples = list(ranking_examples(source, wanted, near, rng)) if DataKind.CONTEXT_RANKING in kinds else []
            yield examples + (list(qa_examples(source, wanted, near, rng)) if DataKind.CONTEXT_QA in kinds else [])
    if kinds & LIST_KINDS:
        lists = passage_lists(source, wanted, mined, config.list_size, rng)
        for of_list in watched(lists, progress, f"{source.name}: drawing lists of passages"):
            examples = list(retrieval_qa_examples(source, wanted, of_list, rng))
            examples += retrieval_ranking_examples(source, of_list)
            yield [example for example in examples if example.kind in kinds]


def sft_examples(source: QuestionSet) -> Iterator[Example]:
    """Yield one example for each record of an instruction source: the last reply is the target (section 4.1)."""
    for record in source.records:
        yield Example(DataKind.SFT, source.name, record.question, (), record.question.answers[0])


def neighbours(source: QuestionSet, mined: Mined) -> list[Neighbours]:
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
    source: QuestionSet, wanted: SourceConfig, near: Neighbours, rng: random.Random
) -> Iterator[Example]:
    """Yield the context ranking examples of one passage: one passage, one question, `True` or `False`.

    At most `questions` positives; for each of them `hard` hard and `random` random negatives on average. A passage
    without a positive counts as if it had one. A random question that the passage may answer is left out.
    """
    positives = rng.sample(near.positive, min(wanted.questions, len(near.positive)))
    amount = max(1, len(positives))
    negatives = rng.sample(near.hard, min(_about(wanted.hard * amount, rng), len(near.hard)))
    others = [rng.choice(source.records) for _ in range(_about(wanted.random * amount, rng))]
    negatives += [other for other in others if is_negative(source, other, near.passage.id, "random")]
    for record, label in [(r, "True") for r in positives] + [(r, "False") for r in negatives]:
        yield Example(DataKind.CONTEXT_RANKING, source.name, record.question, (near.passage,), label)


def candidate_examples(
    source: QuestionSet,
    wanted: SourceConfig,
    record: Record,
    found: Sequence[str],
    passages: Sequence[str],
    rng: random.Random,
) -> list[Example]:
    """Return the context ranking examples of one question: its relevant passages, and negatives for each of them.

    The amounts are those of `ranking_examples`. Hard negatives are first those that the row names, then those that
    mining `found`; random ones come from `passages`, the ids of the source's.
    """
    amount = max(1, len(record.positives))
    named = dict.fromkeys((*record.negatives, *record.near))
    others = [i for i in found if i not in named]
    negatives = [*rng.sample(list(named), len(named)), *rng.sample(others, len(others))]
    chosen = [i for i in negatives if i not in record.positives][: _about(wanted.hard * amount, rng)]
    for other in [rng.choice(passages) for _ in range(_about(wanted.random * amount, rng))]:
        if other not in chosen and is_negative(source, record, other, "random"):
            chosen.append(other)
    return [
        Example(DataKind.CONTEXT_RANKING, source.name, record.question, (source.passages[i],), label)
        for i, label in [(i, "True") for i in record.positives] + [(i, "False") for i in chosen]
    ]


def qa_examples(source: QuestionSet, wanted: SourceConfig, near: Neighbours, rng: random.Random) -> Iterator[Example]:
    """Yield context-rich QA: at most `qa` answered questions about one passage, and in some cases a refused one.

    Longer targets than the configuration allows are left out and counted in `dropped`.
    """
    longest = wanted.max_answer_words or MAX_ANSWER_WORDS
    for record in rng.sample(near.positive, min(wanted.qa, len(near.positive))):
        target = record.reply or answer_in(record.question, near.passage.text)
        if not target:
            source.dropped["no answer"] += 1
        elif len(target.split()) > longest:
            source.dropped[f"answer longer than {longest} words"] += 1
        else:
            yield Example(DataKind.CONTEXT_QA, source.name, record.question, (near.passage,), target)
    refused = [r for r in near.hard if near.passage.id in r.near] or list(near.hard)
    if refused and rng.random() < wanted.unanswerable:
        record = rng.choice(refused)
        yield Example(DataKind.CONTEXT_QA, source.name, record.question, (near.passage,), UNANSWERABLE)


def answer_in(question: Question, text: str) -> str:
    """Return the first reference answer that stands in a text, else the first one, "" if there is none."""
    return next((a for a in question.answers if contains(text, a)), next(iter(question.answers), ""))


def passage_lists(
    source: QuestionSet, wanted: SourceConfig, mined: Mined, size: int, rng: random.Random
) -> Iterator[PassageList]:
    """Yield lists of `size` passages: all gold passages of a record, then its BM25 negatives, shuffled.

    Records whose gold passages all stand in the list are answered from it. Records that have the list's passages among
    their own negatives, and nothing in it that answers them, are refused. A record without gold passages gives a list
    around a passage that only looks as if it answered (`near`). Without a number of `lists` every record that can gives
    one.
    """
    candidates = [
        (record, ids)
        for record, found in zip(source.records, mined, strict=True)
        if (record.positives and record.question.answers) or record.near
        for ids in [tuple(dict.fromkeys((*record.positives, *record.near, *record.negatives, *found)))[:size]]
        if len(record.positives) < size == len(ids)
    ]
    of_gold, of_near = defaultdict[str, list[int]](list), defaultdict[str, list[int]](list)
    for number, (record, found) in enumerate(zip(source.records, mined, strict=True)):
        for i in record.positives:
            of_gold[i].append(number)
        for i in found[:3]:
            of_near[i].append(number)
    amount = len(candidates) if wanted.lists is None else min(wanted.lists, len(candidates))
    for seed, ids in rng.sample(candidates, amount):
        passages = tuple(source.passages[i] for i in rng.sample(ids, size))
        if not seed.positives:
            misses = [r for r in source.records if set(r.near) == set(seed.near)]
            yield PassageList(passages, (), tuple(rng.sample(misses, min(wanted.list_questions, len(misses)))))
            continue
        answered = [r for r in _records(source, of_gold, ids) if r.question.answers and set(r.positives) <= set(ids)]
        refused = [r for r in _records(source, of_near, ids) if set(ids).isdisjoint(r.positives)]
        others = [r for r in answered if r is not seed]
        answered = [seed, *rng.sample(others, min(wanted.list_questions - 1, len(others)))]
        refused = [r for r in refused if not any(contains_any(p.text, r.question.answers) for p in passages)]
        yield PassageList(passages, tuple(answered), tuple(rng.sample(refused, min(1, len(refused)))))


def retrieval_qa_examples(
    source: QuestionSet, wanted: SourceConfig, found: PassageList, rng: random.Random
) -> Iterator[Example]:
    """Yield the answers of a list's records, and in some cases a question that the list does not answer."""
    text = "\n".join(p.text for p in found.passages)
    for record in found.answered:
        target = record.reply or answer_in(record.question, text)
        yield Example(DataKind.RETRIEVAL_QA, source.name, record.question, found.passages, target)
    if found.refused and rng.random() < wanted.unanswerable:
        for record in found.refused:
            yield Example(DataKind.RETRIEVAL_QA, source.name, record.question, found.passages, UNANSWERABLE)


def retrieval_ranking_examples(source: QuestionSet, found: PassageList) -> Iterator[Example]:
    """Yield an example for each answered record: name the passages that are gold or contain an answer."""
    for record in found.answered:
        relevant = [
            place
            for place, passage in enumerate(found.passages)
            if passage.id in record.positives or contains_any(passage.text, record.question.answers)
        ]
        target = list_ranking_target(relevant)
        yield Example(DataKind.RETRIEVAL_RANKING, source.name, record.question, found.passages, target)


def _chosen(wanted: SourceConfig, near: Sequence[Neighbours], rng: random.Random) -> list[Neighbours]:
    """Draw the passages that are used: first those with a positive question, then those without."""
    positive, others = [n for n in near if n.positive], [n for n in near if not n.positive]
    amount = len(positive) if wanted.passages is None else min(wanted.passages, len(positive))
    return rng.sample(positive, amount) + rng.sample(others, min(wanted.negative_passages, len(others)))


def _records(source: QuestionSet, numbers: Mapping[str, Sequence[int]], ids: Sequence[str]) -> list[Record]:
    """Return the records that are listed under one of these passages, in the order of the source."""
    return [source.records[number] for number in sorted({n for i in ids for n in numbers.get(i, ())})]


def _about(expected: float, rng: random.Random) -> int:
    """Round up or down at random, so that the mean is `expected`."""
    return int(expected) + (rng.random() < expected % 1)
