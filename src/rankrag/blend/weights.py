"""How many examples of what: weights of the paper's appendix B, normalised, over one total."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rankrag.config import BlendConfig
from rankrag.types import DataKind

LIST_KINDS = frozenset({DataKind.RETRIEVAL_QA, DataKind.RETRIEVAL_RANKING})
"""The kinds over lists of passages; the others have one passage, or none."""

PAPER_WEIGHTS: Mapping[str, float] = {
    "drop": 0.069,
    "narrativeqa": 0.09,
    "quoref": 0.026,
    "ropes": 0.026,
    "squad/retrieval_qa": 0.09,
    "squad/retrieval_ranking": 0.02,
    "webquestions/retrieval_qa": 0.09,
    "webquestions/retrieval_ranking": 0.02,
    "newsqa": 0.09,
    "tatqa-arithmetic": 0.15,
    "tatqa-others": 0.08,
    "convqa": 0.2,
    "msmarco": 0.15,
    "convqa-ranking": 0.03,
    "sft": 0.2,
}
"""The stage-II blend of appendix B, as printed: the sum is 1.331."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A part of the blend: these kinds of one source, and how many examples; None takes what the source gives."""

    key: str
    source: str
    kinds: frozenset[DataKind]
    examples: int | None


def blend_slots(config: BlendConfig, absent: frozenset[str] = frozenset()) -> list[Slot]:
    """Return the parts of a blend in the order of its sources.

    Counts are taken from the total first, and weights share out the rest. The weights of `absent` sources go to the
    others in proportion. Without weights and counts every source gives all it has.
    """
    present = [source for source in config.sources if source.name not in absent]
    if not config.weights and not config.counts:
        return [Slot(s.name, s.name, frozenset(s.kinds), None) for s in present]
    kinds = {s.name: frozenset(s.kinds) for s in present}
    counts = {key: n for key, n in config.counts.items() if _source_of(key) in kinds and n}
    weights = {key: w for key, w in config.weights.items() if _source_of(key) in kinds and w}
    shared = shared_out(weights, (config.examples or sum(counts.values())) - sum(counts.values()))
    order = list(kinds)
    return [
        Slot(key, _source_of(key), _kinds_of(key) or kinds[_source_of(key)], n)
        for key, n in sorted((counts | shared).items(), key=lambda item: order.index(_source_of(item[0])))
    ]


def shared_out(weights: Mapping[str, float], total: int) -> dict[str, int]:
    """Return `total` shared out by weight, by largest remainder: the numbers sum to it exactly."""
    if not weights:
        return {}
    exact = {key: total * weight / sum(weights.values()) for key, weight in weights.items()}
    numbers = {key: int(amount) for key, amount in exact.items()}
    by_rest = sorted(exact, key=lambda key: numbers[key] - exact[key])
    for key in by_rest[: total - sum(numbers.values())]:
        numbers[key] += 1
    return numbers


def _source_of(key: str) -> str:
    return key.partition("/")[0]


def _kinds_of(key: str) -> frozenset[DataKind]:
    kind = key.partition("/")[2]
    return frozenset([DataKind(kind)]) if kind else frozenset()
