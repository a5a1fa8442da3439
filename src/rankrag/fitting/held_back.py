"""The training questions that a blend holds out, as test sets: the values are fitted on them. No dev set is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

from rankrag.blend.sources import QuestionSet, held_back_part
from rankrag.config.blend import BlendConfig, SourceConfig
from rankrag.data.sets import Benchmark, Judged, TestSet
from rankrag.errors import ConfigError
from rankrag.matching import contains_any, near_duplicate
from rankrag.types import Passage


def held_back_sets(config: BlendConfig, names: Sequence[str], seen: Set[str] = frozenset()) -> dict[str, TestSet]:
    """Return the held-out questions of these sources as test sets; sources of one corpus share their passages.

    Questions whose text is in `seen` are left out, and so are sources without a held-out question that names a passage.
    `ConfigError` names sources that the configuration lacks.
    """
    known = {source.name: source for source in config.sources}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(f"the blend has no source {', '.join(unknown)}; it has {', '.join(known)}")
    parts = {name: held_back_part(config, known[name]) for name in names}
    shared: dict[str, dict[str, Passage]] = {}
    for name, part in parts.items():
        shared.setdefault(known[name].corpus or name, {}).update(part.passages)
    parts = {name: _without(part, seen) for name, part in parts.items()}
    found = {name: _test_set(known[name], part, shared[known[name].corpus or name]) for name, part in parts.items()}
    return {name: test_set for name, test_set in found.items() if test_set.questions}


def without_answers(question: Judged, ids: Sequence[str], passages: Mapping[str, Passage]) -> tuple[str, ...]:
    """Return the candidates without the gold passages, their near-duplicates and all that contain an answer."""
    gold = [passages[i].text for i in question.gold]
    return tuple(
        i
        for i in ids
        if i not in question.gold
        and not contains_any(passages[i].text, question.question.answers)
        and not any(near_duplicate(passages[i].text, text) for text in gold)
    )


def _without(part: QuestionSet, seen: Set[str]) -> QuestionSet:
    return replace(part, records=tuple(record for record in part.records if record.question.text not in seen))


def _test_set(source: SourceConfig, part: QuestionSet, passages: Mapping[str, Passage]) -> TestSet:
    gold = [(record.question, record.positives or record.near) for record in part.records]
    questions = tuple(Judged(question, ids, dict.fromkeys(ids, 1)) for question, ids in gold if ids)
    benchmark = Benchmark(
        name=f"fit-{source.name}",
        title=f"{source.name}, held back",
        rows=source.rows,
        corpora=(f"fit-{source.corpus or source.name}".replace("/", "-"),),
        metric="R@1",
        style=source.style,
        unanswerable=not any(record.positives for record in part.records),
    )
    return TestSet(benchmark, questions, passages, searchable=True)
