"""Held-back training questions as sets: what values and heads are fitted on; no dev set is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rankrag.blend.mixture import held_back_part
from rankrag.blend.sources import Source
from rankrag.config import BlendConfig, SourceConfig
from rankrag.data.sets import Benchmark, Judged, TestSet
from rankrag.errors import ConfigError
from rankrag.evaluation.first_stage import Ids
from rankrag.evaluation.measuring import Rankings, candidates
from rankrag.matching import contains_any, near_duplicate
from rankrag.types import Passage

MULTI_HOP = ("hotpotqa", "2wiki")


@dataclass(frozen=True, slots=True)
class Drawn:
    """The questions of a source that are fitted on, with the first `n` candidates of each of its first stages."""

    test_set: TestSet
    questions: Sequence[Judged]
    first: Sequence[Rankings]
    n: int

    @property
    def passages(self) -> Mapping[str, Passage]:
        """The source's passages by id."""
        return self.test_set.passages

    @property
    def title(self) -> str:
        """The source's name for people."""
        return self.test_set.benchmark.title

    @property
    def wanted(self) -> list[tuple[Judged, Ids]]:
        """Each question with all its candidates."""
        return [(of, candidates(of, self.first, self.n)) for of in self.questions]


def held_back_sets(config: BlendConfig, names: Sequence[str]) -> dict[str, TestSet]:
    """Return the held-back questions of these sources as sets; sources of one corpus share their passages.

    A source that holds nothing back is left out. `ConfigError` names sources that the config lacks.
    """
    known = {source.name: source for source in config.sources}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(f"the blend has no source {', '.join(unknown)}; it has {', '.join(known)}")
    parts = {name: held_back_part(config, known[name]) for name in names}
    shared: dict[str, dict[str, Passage]] = {}
    for name, part in parts.items():
        shared.setdefault(known[name].corpus or name, {}).update(part.passages)
    found = {}
    for name, part in parts.items():
        judged = tuple(_judged(part))
        if judged:
            benchmark = _benchmark(known[name], unanswerable=not any(record.positives for record in part.records))
            found[name] = TestSet(
                benchmark, judged, shared[known[name].corpus or name], searchable=bool(benchmark.corpora)
            )
    return found


def without_answers(of: Judged, ids: Ids, passages: Mapping[str, Passage]) -> Ids:
    """Return the candidates less the gold ones, their near-duplicates, and all that contain an answer."""
    gold = [passages[i].text for i in of.gold]
    return tuple(
        i
        for i in ids
        if i not in of.gold
        and not contains_any(passages[i].text, of.question.answers)
        and not any(near_duplicate(passages[i].text, text) for text in gold)
    )


def _judged(part: Source) -> list[Judged]:
    gold = [(record.question, record.positives or record.near) for record in part.records]
    return [Judged(question, ids, dict.fromkeys(ids, 1)) for question, ids in gold if ids]


def _benchmark(source: SourceConfig, *, unanswerable: bool) -> Benchmark:
    return Benchmark(
        f"fit-{source.name}",
        f"{source.name}, held back",
        source.rows,
        (f"fit-{source.corpus or source.name}".replace("/", "-"),),
        "all-gold@5" if source.name in MULTI_HOP else "R@1",
        source.style,
        unanswerable=unanswerable,
    )
