"""The blend: all sources' examples of all kinds, grouped by passage, in one shuffled file with a manifest."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from rankrag.blend.context_qa import qa_examples
from rankrag.blend.context_ranking import Neighbours, neighbours, ranking_examples
from rankrag.blend.counting import group_tokens, token_counter
from rankrag.blend.drawing import drawn
from rankrag.blend.mining import Mined, mine
from rankrag.blend.preparation import Prepared, Report, prepare
from rankrag.blend.public import KNOWN_DEFECTS
from rankrag.blend.reading import read_source
from rankrag.blend.records import MAX_ANSWER_WORDS
from rankrag.blend.retrieval_qa import passage_lists, retrieval_qa_examples
from rankrag.blend.retrieval_ranking import retrieval_ranking_examples
from rankrag.blend.sft import sft_examples
from rankrag.blend.sources import Source, split_held_back
from rankrag.blend.weights import LIST_KINDS
from rankrag.config import BlendConfig, SourceConfig
from rankrag.examples import write_examples
from rankrag.types import DataKind, Example

EXAMPLES_FILE = "examples.jsonl.zst"
MANIFEST_FILE = "manifest.json"

PASSAGE_KINDS = frozenset({DataKind.CONTEXT_QA, DataKind.CONTEXT_RANKING})


def build_blend(config: BlendConfig, out: Path, report: Report = lambda _: None) -> dict[str, object]:
    """Write the blend and its manifest into `out`; return the manifest. The same config gives the same bytes.

    `ConfigError` lists every problem of the configuration and its data, before anything is written or mined.
    """
    prepared = prepare(config, report)
    count = token_counter(config.tokenizer)
    out.mkdir(parents=True, exist_ok=True)
    groups: list[list[Example]] = []
    entries: dict[str, dict[str, object]] = {}
    for wanted in config.sources:
        if wanted.name not in prepared.sources:
            continue
        source = prepared.sources[wanted.name]
        mined = mined_for(config, wanted, source)
        slots = [slot for slot in prepared.slots if slot.source == wanted.name]
        seed = f"{config.seed}/{wanted.name}"
        found = list(drawn(slots, partial(source_groups, config, wanted, source, mined), seed))
        counts = Counter(f"{e.kind}" for group in found for e in group)
        tokens = sum(group_tokens(group, count) for group in found)
        entries[wanted.name] = _entry(config, wanted, prepared, counts, tokens)
        report(f"{wanted.name}: {counts.total()} examples {dict(sorted(counts.items()))}, {tokens} tokens")
        groups += found
    random.Random(config.seed).shuffle(groups)
    total = write_examples(out / EXAMPLES_FILE, (e for group in groups for e in group))
    manifest = _manifest(config, prepared, entries, total, _sha256(out / EXAMPLES_FILE))
    (out / MANIFEST_FILE).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return manifest


def mined_for(config: BlendConfig, wanted: SourceConfig, source: Source) -> Mined:
    """Return the hard negatives of a source, none where it needs none.

    Chunks of a conversation's document are negatives of each other only, as in the paper.
    """
    needless = set(wanted.kinds) <= {DataKind.SFT, DataKind.CONTEXT_QA} and not wanted.unanswerable
    return mine(source, 0 if needless or wanted.chunk_words else config.mining_depth)


def source_groups(
    config: BlendConfig,
    wanted: SourceConfig,
    source: Source,
    mined: Mined,
    kinds: frozenset[DataKind],
    rng: random.Random,
) -> Iterator[list[Example]]:
    """Yield the examples of one source, those that share their passages together."""
    if DataKind.SFT in kinds:
        yield from ([example] for example in sft_examples(source))
    if kinds & PASSAGE_KINDS:
        near = neighbours(source, mined)
        positive, others = [n for n in near if n.positive], [n for n in near if not n.positive]
        amount = len(positive) if wanted.passages is None else min(wanted.passages, len(positive))
        chosen = rng.sample(positive, amount)
        for of in chosen + rng.sample(others, min(wanted.negative_passages, len(others))):
            yield list(_passage_examples(source, wanted, of, kinds, rng))
    if kinds & LIST_KINDS:
        lists = passage_lists(
            source, mined, lists=wanted.lists, size=config.list_size, questions=wanted.list_questions, rng=rng
        )
        for of_list in lists:
            examples = list(retrieval_qa_examples(source, of_list, unanswerable=wanted.unanswerable, rng=rng))
            examples += retrieval_ranking_examples(source, of_list)
            yield [example for example in examples if example.kind in kinds]


def held_back_part(config: BlendConfig, wanted: SourceConfig) -> Source:
    """Return the held-back questions of a source, for fitting thresholds and weights."""
    return split_held_back(read_source(wanted, Path(config.data), seed=config.seed), config.held_back)[1]


def _passage_examples(
    source: Source, wanted: SourceConfig, of: Neighbours, kinds: frozenset[DataKind], rng: random.Random
) -> Iterator[Example]:
    if DataKind.CONTEXT_RANKING in kinds:
        yield from ranking_examples(
            source, of, questions=wanted.questions, hard=wanted.hard, random_share=wanted.random, rng=rng
        )
    if DataKind.CONTEXT_QA in kinds:
        yield from qa_examples(
            source,
            of,
            questions=wanted.qa,
            unanswerable=wanted.unanswerable,
            max_words=wanted.max_answer_words or MAX_ANSWER_WORDS,
            rng=rng,
        )


def _entry(
    config: BlendConfig, wanted: SourceConfig, prepared: Prepared, counts: Counter[str], tokens: int
) -> dict[str, object]:
    """Return what the manifest says of one source."""
    origin: dict[str, object] = {"hub": wanted.hub.model_dump()} if wanted.hub else {"rows": wanted.rows}
    if wanted.rows:
        origin["rows_sha256"] = _sha256(Path(config.data) / wanted.rows)
    defects = KNOWN_DEFECTS.get(wanted.reader, ())
    return {
        "licence": wanted.licence,
        **origin,
        "usable_rows": prepared.rows[wanted.name],
        "examples": dict(sorted(counts.items())),
        "tokens": tokens,
        "dropped": dict(sorted(prepared.sources[wanted.name].dropped.items())),
        **({"known_defects": defects} if defects else {}),
    }


def _manifest(
    config: BlendConfig, prepared: Prepared, entries: dict[str, dict[str, object]], total: int, sha256: str
) -> dict[str, object]:
    return {
        "examples": total,
        "sha256": sha256,
        "tokens_counted_by": config.tokenizer or "words times 1.3",
        "config": config.model_dump(mode="json", exclude={"data"}),
        "left_out": prepared.left_out,
        "contamination": prepared.contamination,
        "sources": entries,
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
