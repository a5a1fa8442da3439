"""The blend: all sources' examples of all kinds, grouped by passage, in one shuffled file with a manifest."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from rankrag.blend.kinds import source_groups
from rankrag.blend.mining import mine
from rankrag.blend.parts import GOES_ON, BlendPart, BlendParts, lines
from rankrag.blend.prepare import PreparedBlend, Report, prepare_blend
from rankrag.blend.weights import drawn
from rankrag.config.blend import BlendConfig, SourceConfig
from rankrag.data.catalogue import KNOWN_DEFECTS
from rankrag.data.files import sha256, write_lines, write_whole
from rankrag.data.progress import Progress, quiet
from rankrag.errors import ConfigError, DataError, writing
from rankrag.templates import passage_text
from rankrag.types import DataKind, Example

EXAMPLES_FILE = "examples.jsonl.zst"
MANIFEST_FILE = "manifest.json"
PARTS_FOLDER = "parts"
TOKENS_PER_WORD = 1.3


def build_blend(
    config: BlendConfig, out: Path, report: Report = lambda _: None, progress: Progress = quiet
) -> dict[str, object]:
    """Write the blend and its manifest into `out`; return the manifest. The same config gives the same bytes.

    Finished sources are kept in `out` until the blend is complete: after a kill, the same call goes on with them.
    `ConfigError` lists every problem of the configuration and its data, before anything is written or mined;
    `DataError` reports a full disk.
    """
    parts = BlendParts(out / PARTS_FOLDER, config)
    prepared = prepare_blend(config, report, progress=progress, made=parts.find)
    if not prepared.slots:
        why = "; ".join(f"{name} ({reason})" for name, reason in prepared.left_out.items())
        raise ConfigError(f"no source is left to build a blend from: {why}")
    found: dict[str, BlendPart] = {}
    for wanted in config.sources:
        if wanted.name not in {slot.source for slot in prepared.slots}:
            continue
        part = parts.find(wanted, prepared.slots)
        kept = "" if part is None else ", kept from the run before"
        part = part or _made(config, wanted, prepared, parts, progress)
        prepared.sources.pop(wanted.name, None)
        found[wanted.name] = part
        counts = part.entry["examples"]
        report(f"{wanted.name}: {sum(counts.values())} examples {counts}, {part.entry['tokens']} tokens{kept}")
    order = list(range(sum(len(part.groups) for part in found.values())))
    random.Random(config.seed).shuffle(order)
    with writing(out, DataError, GOES_ON):
        total = write_lines(out / EXAMPLES_FILE, lines(tuple(found.values()), order))
        manifest = _manifest(config, prepared, found, total, sha256(out / EXAMPLES_FILE))
        write_whole(out / MANIFEST_FILE, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    parts.delete()
    return manifest


def group_tokens(group: Sequence[Example]) -> int:
    """Return about how many tokens examples that stand together have: passages once, each one's turns and target."""
    texts = [passage_text(passage) for passage in {p.id: p for e in group for p in e.contexts}.values()]
    for example in group:
        texts += [*(m.content for m in example.question.history), example.question.text, example.target]
    return sum(round(len(text.split()) * TOKENS_PER_WORD) for text in texts)


def _made(
    config: BlendConfig, wanted: SourceConfig, prepared: PreparedBlend, parts: BlendParts, progress: Progress
) -> BlendPart:
    """Mine and draw the examples of one source and write them as its part."""
    source = prepared.sources[wanted.name]
    slots = [slot for slot in prepared.slots if slot.source == wanted.name]
    needless = set(wanted.kinds) <= {DataKind.SFT, DataKind.CONTEXT_QA} and not wanted.unanswerable
    # chunks of a conversation's document are negatives of each other only, as in the paper
    mined = mine(source, 0 if needless or wanted.chunk_words else config.mining_depth, progress)
    groups = partial(source_groups, config, wanted, source, mined, progress=progress)
    counts, tokens = Counter[str](), 0

    def counted() -> Iterator[list[Example]]:
        nonlocal tokens
        for group in drawn(slots, groups, f"{config.seed}/{wanted.name}"):
            counts.update(f"{example.kind}" for example in group)
            tokens += group_tokens(group)
            yield group

    return parts.write(
        wanted,
        slots,
        counted(),
        lambda: _entry(config, wanted, prepared, counts, tokens),
        prepared.contamination[wanted.name],
    )


def _entry(
    config: BlendConfig, wanted: SourceConfig, prepared: PreparedBlend, counts: Counter[str], tokens: int
) -> dict[str, object]:
    """Return the manifest's entry for one source."""
    origin: dict[str, object] = {"hub": wanted.hub.model_dump()} if wanted.hub else {"rows": wanted.rows}
    origin |= prepared.sources[wanted.name].origin
    if wanted.rows:
        origin["rows_sha256"] = sha256(Path(config.data) / wanted.rows)
    if wanted.corpus:
        origin |= {"corpus": wanted.corpus, "corpus_sha256": sha256(Path(config.data) / wanted.corpus)}
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
    config: BlendConfig, prepared: PreparedBlend, parts: Mapping[str, BlendPart], total: int, sha256: str
) -> dict[str, object]:
    return {
        "examples": total,
        "use": "research only" if config.research else "commercial use allowed",
        "sha256": sha256,
        "tokens_counted_by": f"words times {TOKENS_PER_WORD}",
        "config": config.model_dump(mode="json", exclude={"data"}),
        "left_out": prepared.left_out,
        "contamination": {
            one.rows: {name: p.contamination[one.rows] for name, p in parts.items() if one.rows in p.contamination}
            for one in config.evaluation
            if one.rows not in prepared.uncompared
        },
        "not_compared_with": prepared.uncompared,
        "sources": {name: part.entry for name, part in parts.items()},
    }
