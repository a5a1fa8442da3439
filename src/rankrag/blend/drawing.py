"""Drawing examples for the parts of a blend: whole groups of one passage, again and again where a source is small."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from rankrag.blend.weights import Slot
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
    left = {slot: slot.examples or 0 for slot in slots}
    for number in range(max(left.values())):
        open_slots = {kind: slot for slot, n in left.items() if n for kind in slot.kinds}
        if not open_slots:
            return
        rng = random.Random(f"{seed}/{number}")
        made = list(groups(frozenset(open_slots), rng))
        rng.shuffle(made)
        taken: Counter[str] = Counter()
        for group in made:
            kept = []
            for example in group:
                slot = open_slots.get(example.kind)
                if slot is not None and left[slot]:
                    left[slot] -= 1
                    taken[slot.key] += 1
                    kept.append(example)
            if kept:
                yield kept
        empty = sorted({slot.key for slot in open_slots.values()} - set(taken))
        if empty:
            raise ConfigError(f"the source gives no example for {', '.join(empty)}; see what was dropped, and why")
