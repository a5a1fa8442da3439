"""The blend: all sources' examples of all kinds, grouped by passage, in one shuffled file with a manifest."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from rankrag.blend.context_qa import qa_examples
from rankrag.blend.context_ranking import Neighbours, neighbours, ranking_examples
from rankrag.blend.mining import mine
from rankrag.blend.retrieval_qa import passage_lists, retrieval_qa_examples
from rankrag.blend.retrieval_ranking import retrieval_ranking_examples
from rankrag.blend.sources import Source, read_source, split_held_back
from rankrag.config import BlendConfig, SourceConfig
from rankrag.errors import ConfigError
from rankrag.examples import write_examples
from rankrag.types import Example

EXAMPLES_FILE = "examples.jsonl.zst"


def build_blend(config: BlendConfig, out: Path, report: Callable[[str], None] = lambda _: None) -> dict[str, object]:
    """Write the blend and its manifest into `out`; return the manifest. The same config gives the same bytes.

    `ConfigError` lists every source whose files are missing, before any work starts.
    """
    data = Path(config.data)
    absent = [str(data / f) for s in config.sources for f in (s.rows, s.corpus) if f and not (data / f).is_file()]
    if absent:
        raise ConfigError(f"the blend names files that are not there: {', '.join(absent)}")
    out.mkdir(parents=True, exist_ok=True)
    groups: list[list[Example]] = []
    sources: dict[str, object] = {}
    for wanted in config.sources:
        found = list(source_groups(config, wanted))
        counts = Counter(f"{e.kind}" for group in found for e in group)
        sources[wanted.name] = {
            "licence": wanted.licence,
            "rows": wanted.rows,
            "rows_sha256": _sha256(data / wanted.rows),
            "examples": dict(sorted(counts.items())),
        }
        report(f"{wanted.name}: {sum(counts.values())} examples {dict(sorted(counts.items()))}")
        groups += found
    random.Random(config.seed).shuffle(groups)
    total = write_examples(out / EXAMPLES_FILE, (e for group in groups for e in group))
    manifest = {
        "examples": total,
        "sha256": _sha256(out / EXAMPLES_FILE),
        "config": config.model_dump(mode="json", exclude={"data"}),
        "sources": sources,
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return manifest


def source_groups(config: BlendConfig, wanted: SourceConfig) -> Iterator[list[Example]]:
    """Yield the examples of one source, those that share their passages together."""
    rng = random.Random(f"{config.seed}/{wanted.name}")
    source = training_part(config, wanted)
    mined = mine(source, config.mining_depth)
    near = neighbours(source, mined)
    positive, others = [n for n in near if n.positive], [n for n in near if not n.positive]
    chosen = rng.sample(positive, min(wanted.passages, len(positive)))
    for of in chosen + rng.sample(others, min(wanted.negative_passages, len(others))):
        yield list(_passage_examples(source, wanted, of, rng))
    lists = passage_lists(
        source, mined, lists=wanted.lists, size=config.list_size, questions=wanted.list_questions, rng=rng
    )
    for of_list in lists:
        examples = list(retrieval_qa_examples(source, of_list, unanswerable=wanted.unanswerable, rng=rng))
        yield examples + list(retrieval_ranking_examples(source, of_list))


def training_part(config: BlendConfig, wanted: SourceConfig) -> Source:
    """Return a source without its held-back questions."""
    return split_held_back(_read(config, wanted), config.held_back)[0]


def held_back_part(config: BlendConfig, wanted: SourceConfig) -> Source:
    """Return the held-back questions of a source, for fitting thresholds and weights."""
    return split_held_back(_read(config, wanted), config.held_back)[1]


def _read(config: BlendConfig, wanted: SourceConfig) -> Source:
    corpus = Path(config.data) / wanted.corpus if wanted.corpus else None
    return read_source(wanted.name, Path(config.data) / wanted.rows, corpus, wanted.style)


def _passage_examples(source: Source, wanted: SourceConfig, of: Neighbours, rng: random.Random) -> Iterator[Example]:
    if wanted.ranking:
        yield from ranking_examples(
            source, of, questions=wanted.questions, hard=wanted.hard, random_share=wanted.random, rng=rng
        )
    if wanted.qa:
        yield from qa_examples(
            source,
            of,
            questions=wanted.qa,
            unanswerable=wanted.unanswerable,
            max_words=wanted.max_answer_words,
            rng=rng,
        )


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
