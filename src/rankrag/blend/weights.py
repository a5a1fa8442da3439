"""How many examples of what: weights of the paper's appendix B, normalised, over one total; and drawing that many.

Whole groups of one passage are drawn, again and again if a source is small.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rankrag.blend.kinds import LIST_KINDS
from rankrag.config.blend import BlendConfig
from rankrag.errors import ConfigError
from rankrag.types import DataKind, Example

Groups = Callable[[frozenset[DataKind], random.Random], Iterator[list[Example]]]
"""Makes all groups of a source with these kinds; another `Random` gives other negatives and other lists."""


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
        Slot(key, source, frozenset([DataKind(kind)]) if kind else kinds[source], n)
        for key, n in sorted((counts | shared).items(), key=lambda item: order.index(_source_of(item[0])))
        for source, _, kind in [key.partition("/")]
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


def drawn(slots: Sequence[Slot], groups: Groups, seed: str) -> Iterator[list[Example]]:
    """Yield groups of one source until each of its slots has its number of examples.

    Examples of one passage, or of one list, stay together; the last group of a slot is cut. A source that is too small
    is gone through again, with other negatives and other lists. `ConfigError` names a slot that nothing is made for.
    """
    if all(slot.examples is None for slot in slots):
        yield from groups(frozenset[DataKind]().union(*(slot.kinds for slot in slots)), random.Random(seed))
        return
    for kinds in _made_together(slots):
        yield from _drawn({slot: slot.examples or 0 for slot in slots if slot.kinds <= kinds}, groups, seed)


def _source_of(key: str) -> str:
    return key.partition("/")[0]


def _drawn(left: dict[Slot, int], groups: Groups, seed: str) -> Iterator[list[Example]]:
    for number in range(max(left.values())):
        open_slots = {kind: slot for slot, n in left.items() if n for kind in slot.kinds}
        taken: Counter[str] = Counter()
        for group in _shuffled(groups, frozenset(open_slots), random.Random(f"{seed}/{number}")):
            kept = []
            for example in group:
                slot = open_slots.get(example.kind)
                if slot is not None and left[slot]:
                    left[slot] -= 1
                    taken[slot.key] += 1
                    kept.append(example)
            if kept:
                yield kept
            if not any(left.values()):
                return
        empty = sorted({slot.key for slot in open_slots.values()} - set(taken))
        if empty:
            raise ConfigError(f"the source gives no example for {', '.join(empty)}; see what was dropped, and why")


def _shuffled(groups: Groups, kinds: frozenset[DataKind], rng: random.Random) -> Iterable[list[Example]]:
    """Return a source's groups in random order. Lists come so already; they are costly: none is wasted."""
    if kinds <= LIST_KINDS:
        return groups(kinds, rng)
    made = list(groups(kinds, rng))
    rng.shuffle(made)
    return made


def _made_together(slots: Sequence[Slot]) -> list[frozenset[DataKind]]:
    """Return the kinds that are drawn in one go: those of lists apart, unless a slot takes from several."""
    kinds = frozenset[DataKind]().union(*(slot.kinds for slot in slots))
    parts = [kinds - LIST_KINDS, kinds & LIST_KINDS]
    if all(any(slot.kinds <= part for part in parts) for slot in slots):
        return [part for part in parts if part]
    return [kinds]
