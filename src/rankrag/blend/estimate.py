"""What a blend would hold, without mining or writing: rows, examples, tokens and shares, beside the paper's.

Tokens are those of a tokenizer, or words times 1.3.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from rankrag.blend.kinds import source_groups
from rankrag.blend.mining import Mined
from rankrag.blend.prepare import Report, prepare_blend
from rankrag.blend.sources import QuestionSet, Record
from rankrag.blend.weights import PAPER_WEIGHTS, Slot, blend_slots, drawn
from rankrag.config.blend import BlendConfig, SourceConfig
from rankrag.data.progress import Progress, quiet
from rankrag.errors import ConfigError
from rankrag.templates import passage_text
from rankrag.types import Example

CountTokens = Callable[[str], int]
TOKENS_PER_WORD = 1.3
_SAMPLE = 200  # groups of a source that its tokens are counted on


@dataclass(frozen=True, slots=True)
class PartEstimate:
    """One part of a blend: rows it draws from, examples, and tokens of an example. `absent` says why it has none."""

    key: str
    rows: int | None
    examples: int | None
    tokens_each: float | None
    absent: str = ""

    @property
    def tokens(self) -> int:
        """Tokens of the part, 0 if they are not known."""
        return round((self.examples or 0) * (self.tokens_each or 0))


def dry_run(config: BlendConfig, report: Report = lambda _: None, progress: Progress = quiet) -> list[PartEstimate]:
    """Return every part of the blend; one whose data is absent has its share and nothing else.

    Random passages stand in for mined ones, so that parts without a weight are counted to a few in a hundred; tokens
    are an average over some groups. `ConfigError` lists all mistakes of the configuration and the available data.
    """
    prepared = prepare_blend(config, report, progress=progress, absent_is_fine=True)
    count = token_counter(config.tokenizer)
    configs = {source.name: source for source in config.sources}
    parts = []
    for slot in blend_slots(config):
        if slot.source in prepared.left_out:
            parts.append(PartEstimate(slot.key, None, slot.examples, None, prepared.left_out[slot.source]))
            continue
        groups = list(_groups(config, configs[slot.source], prepared.sources[slot.source], slot))
        examples = slot.examples if slot.examples is not None else sum(map(len, groups))
        parts.append(PartEstimate(slot.key, prepared.rows[slot.source], examples, _tokens_each(groups, count)))
    return parts


def table(parts: Sequence[PartEstimate], config: BlendConfig) -> Iterator[str]:
    """Yield the lines of a readable table: one for each part, then the sums, then the absent parts."""
    examples, tokens = sum(p.examples or 0 for p in parts), sum(p.tokens for p in parts)
    paper = sum(PAPER_WEIGHTS.values())
    yield f"{'part':32} {'rows':>8} {'examples':>9} {'share':>7} {'paper':>7} {'tokens':>12} {'share':>7}"
    for part in parts:
        printed = PAPER_WEIGHTS.get(part.key)
        yield (
            f"{part.key:32} {'absent' if part.absent else part.rows:>8} {_number(part.examples)} "
            f"{_share(part.examples, examples)} {_share(printed, paper)} "
            f"{'?' if part.absent else part.tokens:>12} {_share(None if part.absent else part.tokens, tokens)}"
        )
    yield f"{'all':32} {'':8} {examples:>9} {'':7} {'':7} {tokens:>12}"
    counted = f"the tokenizer {config.tokenizer}" if config.tokenizer else f"words times {TOKENS_PER_WORD}"
    yield f"Tokens are an estimate by {counted}; passages that examples share are counted once."
    yield from (f"{part.key}: {part.absent}" for part in parts if part.absent)


def token_counter(tokenizer: str | None) -> CountTokens:
    """Return what counts the tokens of a text: a tokenizer, by directory or hub id, else words times 1.3."""
    if tokenizer is None:
        return lambda text: round(len(text.split()) * TOKENS_PER_WORD)
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(tokenizer)
    except (OSError, ValueError) as error:
        raise ConfigError(f"tokenizer {tokenizer}: cannot be loaded ({error}); name a directory or a hub id") from None
    return lambda text: len(loaded.encode(text, add_special_tokens=False))


def group_tokens(group: Sequence[Example], count: CountTokens) -> int:
    """Return the tokens of examples that stand together: passages once, turns and targets of each; no template."""
    passages = {p.id: p for example in group for p in example.contexts}
    total = sum(count(passage_text(p)) for p in passages.values())
    for example in group:
        question = example.question
        total += sum(map(count, [*(m.content for m in question.history), question.text, example.target]))
    return total


def _groups(config: BlendConfig, wanted: SourceConfig, source: QuestionSet, slot: Slot) -> Iterator[list[Example]]:
    few = wanted
    if slot.examples is not None:
        most = {name: getattr(wanted, name) for name in ("passages", "lists")}
        few = wanted.model_copy(update={n: _SAMPLE if v is None else min(v, _SAMPLE) for n, v in most.items()})
        source = QuestionSet(source.name, _some(source, slot), source.passages)
    groups = partial(source_groups, config, few, source, _stand_in(source, config.mining_depth))
    return drawn([Slot(slot.key, slot.source, slot.kinds, None)], groups, f"{config.seed}/{wanted.name}")


def _some(source: QuestionSet, slot: Slot) -> tuple[Record, ...]:
    return tuple(random.Random(slot.key).sample(source.records, min(10 * _SAMPLE, len(source.records))))


def _stand_in(source: QuestionSet, depth: int) -> Mined:
    """Return random passages for each record that are none of its own, where mining would find the best ones."""
    rng, ids = random.Random(source.name), list(source.passages)
    own = [{*record.positives, *record.unclear} for record in source.records]
    return [tuple(i for i in rng.sample(ids, min(depth, len(ids))) if i not in gold) for gold in own]


def _tokens_each(groups: Sequence[Sequence[Example]], count: CountTokens) -> float | None:
    some = random.Random(0).sample(groups, min(_SAMPLE, len(groups)))
    examples = sum(map(len, some))
    return sum(group_tokens(group, count) for group in some) / examples if examples else None


def _number(value: int | None) -> str:
    return f"{'?' if value is None else value:>9}"


def _share(part: float | None, whole: float) -> str:
    return f"{'':7}" if part is None or not whole else f"{part / whole:>7.1%}"
