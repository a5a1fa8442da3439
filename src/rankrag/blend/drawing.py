"""Drawing examples for the parts of a blend: whole groups of one passage, again and again where a source is small."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from rankrag.blend.weights import LIST_KINDS, Slot
from rankrag.errors import ConfigError
from rankrag.types import DataKind, Example

Groups = Callable[[frozenset[DataKind], random.Random], Iterator[list[Example]]]
"""Makes all groups of a source with these kinds; another `Random` gives other negatives and other lists."""


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


def _drawn(left: dict[Slot, int], groups: Groups, seed: str) -> Iterator[list[Example]]:
    for number in range(max(left.values())):
        open_slots = {kind: slot for slot, n in left.items() if n for kind in slot.kinds}
        if not open_slots:
            return
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
    """Return a source's groups in random order. Lists come so already; each is costly, so none is made for nothing."""
    if kinds <= LIST_KINDS:
        return groups(kinds, rng)
    made = list(groups(kinds, rng))
    rng.shuffle(made)
    return made


def _made_together(slots: Sequence[Slot]) -> list[frozenset[DataKind]]:
    """Return the kinds that are drawn in one go: those of lists apart, unless a slot takes from both."""
    kinds = frozenset[DataKind]().union(*(slot.kinds for slot in slots))
    if any(slot.kinds & LIST_KINDS and slot.kinds - LIST_KINDS for slot in slots):
        return [kinds]
    return [part for part in (kinds - LIST_KINDS, kinds & LIST_KINDS) if part]
