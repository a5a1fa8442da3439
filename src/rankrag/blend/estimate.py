"""What a blend would hold, without mining or writing: rows, examples, tokens and shares."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

from rankrag.blend.kinds import source_groups
from rankrag.blend.mining import Mined
from rankrag.blend.prepare import Report, prepare_blend
from rankrag.blend.sources import QuestionSet
from rankrag.blend.weights import Slot, blend_slots, drawn
from rankrag.config.blend import BlendConfig, SourceConfig
from rankrag.data.progress import Progress, quiet
from rankrag.templates import passage_text
from rankrag.types import Example

TOKENS_PER_WORD = 1.3
_SAMPLE = 200  # groups of a part that its tokens are counted on


@dataclass(frozen=True, slots=True)
class PartEstimate:
    """One part of a blend: rows it draws from, examples and their tokens. `absent` says why it has none."""

    key: str
    rows: int | None
    examples: int | None
    tokens: int = 0
    absent: str = ""


def dry_run(config: BlendConfig, report: Report = lambda _: None, progress: Progress = quiet) -> list[PartEstimate]:
    """Return every part of the blend; one whose data is absent has its share and nothing else. No licence is refused.

    Random passages stand in for mined ones, so that parts without a weight are counted to a few in a hundred; tokens
    are an average over some groups. `ConfigError` lists all mistakes of the configuration and the available data.
    """
    optional = {
        name: tuple(one.model_copy(update={"optional": True}) for one in getattr(config, name))
        for name in ("sources", "evaluation")
    }
    lenient = config.model_copy(update={**optional, "research": True})
    prepared = prepare_blend(lenient, report, progress=progress)
    configs = {source.name: source for source in config.sources}
    parts = []
    for slot in blend_slots(config):
        if slot.source in prepared.left_out:
            parts.append(PartEstimate(slot.key, None, slot.examples, absent=prepared.left_out[slot.source]))
            continue
        groups = _groups(config, configs[slot.source], prepared.sources[slot.source], slot)
        some = list(islice(groups, _SAMPLE))
        in_some = sum(map(len, some))
        examples = slot.examples if slot.examples is not None else in_some + sum(map(len, groups))
        tokens = examples * sum(map(group_tokens, some)) / max(1, in_some)
        parts.append(PartEstimate(slot.key, prepared.rows[slot.source], examples, round(tokens)))
    return parts


def table(parts: Sequence[PartEstimate]) -> Iterator[str]:
    """Yield the lines of a readable table: each part, then the sums, then the absent parts."""
    examples, tokens = sum(p.examples or 0 for p in parts), sum(p.tokens for p in parts)
    yield f"{'part':32} {'rows':>8} {'examples':>9} {'share':>7} {'tokens':>12} {'share':>7}"
    for part in parts:
        absent, number = bool(part.absent), "?" if part.examples is None else part.examples
        yield (
            f"{part.key:32} {'absent' if absent else part.rows:>8} {number:>9} {_share(part.examples, examples)} "
            f"{'?' if absent else part.tokens:>12} {_share(None if absent else part.tokens, tokens)}"
        )
    yield f"{'all':32} {'':8} {examples:>9} {'':7} {tokens:>12}"
    yield f"Tokens are an estimate, words times {TOKENS_PER_WORD}; passages that examples share are counted once."
    yield from (f"{part.key}: {part.absent}" for part in parts if part.absent)


def group_tokens(group: Sequence[Example]) -> int:
    """Return about how many tokens examples that stand together have: passages once, each one's turns and target."""
    texts = [passage_text(passage) for passage in {p.id: p for e in group for p in e.contexts}.values()]
    for example in group:
        texts += [*(m.content for m in example.question.history), example.question.text, example.target]
    return sum(round(len(text.split()) * TOKENS_PER_WORD) for text in texts)


def _groups(config: BlendConfig, wanted: SourceConfig, source: QuestionSet, slot: Slot) -> Iterator[list[Example]]:
    """Yield all groups of one part, made from the source's records in random order."""
    records = random.Random(slot.key).sample(source.records, len(source.records))
    source = replace(source, records=tuple(records))
    groups = partial(source_groups, config, wanted, source, _stand_in(source, config.mining_depth))
    return drawn([replace(slot, examples=None)], groups, f"{config.seed}/{wanted.name}")


def _stand_in(source: QuestionSet, depth: int) -> Mined:
    """Return random passages for each record that are none of its own, where mining would find the best ones."""
    rng, ids = random.Random(source.name), list(source.passages)
    own = [{*record.positives, *record.unclear} for record in source.records]
    return [tuple(i for i in rng.sample(ids, min(depth, len(ids))) if i not in gold) for gold in own]


def _share(part: float | None, whole: float) -> str:
    return f"{'':7}" if part is None or not whole else f"{part / whole:>7.1%}"
