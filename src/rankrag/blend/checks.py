"""Everything that is wrong with a blend's configuration, found before any long work."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from rankrag.blend.contamination import evaluation_files
from rankrag.blend.sources import Source
from rankrag.blend.weights import LIST_KINDS
from rankrag.config import BlendConfig, SourceConfig
from rankrag.types import DataKind


def config_problems(config: BlendConfig) -> list[str]:
    """Return all that is wrong in the configuration itself, one line each; no file is looked at."""
    names = Counter(source.name for source in config.sources)
    problems = [f"source {name!r} stands {n} times; names must differ" for name, n in names.items() if n > 1]
    problems += [] if names else ["'sources' is empty"]
    problems += [f"source {name!r}: a name may not hold '/'" for name in names if "/" in name]
    for source in config.sources:
        problems += [f"source {source.name!r}: {problem}" for problem in _source_problems(source)]
    return problems + list(_share_problems(config))


def absent_files(config: BlendConfig, source: SourceConfig) -> list[str]:
    """Return the files that a source names and that are not there."""
    data = Path(config.data)
    return [str(data / f) for f in (source.rows, source.corpus) if f and not (data / f).is_file()]


def absent_evaluation(config: BlendConfig) -> dict[str, list[str]]:
    """Return the files that evaluation sets lack, by set."""
    data = Path(config.data)
    absent = {of.rows: [str(f) for f in evaluation_files(of, data) if not f.is_file()] for of in config.evaluation}
    return {name: files for name, files in absent.items() if files}


def data_problems(source: Source, kinds: Iterable[DataKind], list_size: int) -> list[str]:
    """Return why a source that was read cannot give examples of these kinds, one line a reason."""
    if not source.records:
        why = ", ".join(f"{n} {reason}" for reason, n in source.dropped.items())
        return [f"source {source.name!r}: no rows are left" + (f" ({why})" if why else "; its file is empty")]
    problems = []
    wanted = set(kinds)
    if DataKind.CONTEXT_RANKING in wanted and not source.passages:
        problems.append(f"source {source.name!r}: no row has a passage, so there is nothing to rank")
    if DataKind.CONTEXT_QA in wanted and not any(r.positives or r.near for r in source.records):
        problems.append(f"source {source.name!r}: no row has a gold passage, so nothing can be asked of one")
    answered = any(r.positives and r.question.answers for r in source.records)
    if wanted & LIST_KINDS and (not answered or len(source.passages) < list_size):
        problems.append(
            f"source {source.name!r}: lists of {list_size} passages need that many, and rows with gold passages and "
            f"answers (found: {len(source.passages)} passages)"
        )
    return problems


def _source_problems(source: SourceConfig) -> Iterator[str]:
    if bool(source.rows) == (source.hub is not None):
        yield "name either 'rows' or a 'hub'"
    if DataKind.SFT in source.kinds and len(source.kinds) > 1:
        yield "'sft' stands alone in 'kinds'; make a second source for the other kinds"
    if source.chunk_words and source.irrelevant_below > source.relevant_above:
        yield f"irrelevant_below {source.irrelevant_below} is above relevant_above {source.relevant_above}"


def _share_problems(config: BlendConfig) -> Iterator[str]:
    kinds = {source.name: frozenset(source.kinds) for source in config.sources}
    tables: tuple[tuple[str, Mapping[str, float]], ...] = (("weights", config.weights), ("counts", config.counts))
    for title, table in tables:
        for key, value in table.items():
            yield from (f"{title}: {problem}" for problem in _key_problems(key, kinds))
            if not math.isfinite(value) or value < 0:
                yield f"{title}: {key!r} is {value}; it must be 0 or more"
    taken = Counter(pair for table in (config.weights, config.counts) for key in table for pair in _pairs(key, kinds))
    yield from (f"{name}/{kind} is given {n} times in weights and counts" for (name, kind), n in taken.items() if n > 1)
    if config.weights and not sum(w for w in config.weights.values() if w > 0):
        yield "weights: all are 0"
    if config.weights and config.examples is None:
        yield "weights share out 'examples', which is not set"
    if config.examples is not None and not config.weights:
        yield "'examples' is shared out by 'weights', of which there are none"
    if config.examples is not None and sum(config.counts.values()) > config.examples:
        yield f"counts sum to {sum(config.counts.values())}, more than the {config.examples} examples"
    if config.weights or config.counts:
        named = {key.partition("/")[0] for key in (*config.weights, *config.counts)}
        yield from (f"source {name!r} has no weight; give it one, or 0" for name in kinds if name not in named)


def _key_problems(key: str, kinds: Mapping[str, frozenset[DataKind]]) -> Iterator[str]:
    name, _, kind = key.partition("/")
    if name not in kinds:
        close = difflib.get_close_matches(name, kinds, n=1)
        yield f"{key!r} names no source" + (f"; did you mean {close[0]!r}?" if close else "")
    elif kind and kind not in kinds[name]:
        yield f"{key!r}: the source makes no {kind!r}, only {', '.join(sorted(kinds[name]))}"


def _pairs(key: str, kinds: Mapping[str, frozenset[DataKind]]) -> Iterator[tuple[str, str]]:
    name, _, kind = key.partition("/")
    yield from ((name, of) for of in ([kind] if kind else sorted(kinds.get(name, ()))))
