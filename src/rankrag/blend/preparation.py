"""From a configuration to sources that are read, clean and ready to draw from; or all its problems in one error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rankrag.blend.checks import absent_evaluation, absent_files, config_problems, data_problems
from rankrag.blend.contamination import EvaluationSet, overlaps, read_evaluation, without
from rankrag.blend.licences import allows_commercial
from rankrag.blend.reading import FORBIDDEN, HubUnreachableError, read_source
from rankrag.blend.sources import Source, split_held_back
from rankrag.blend.weights import Slot, blend_slots
from rankrag.config import BlendConfig, SourceConfig
from rankrag.errors import ConfigError, DataError, MissingExtraError

Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """The training parts of all sources, the parts of the blend, and what is not in them.

    `rows` is how many rows of a source could be used, the held-back ones among them; `left_out` says why a source is
    not there; `contamination` holds what was found, by evaluation set and source.
    """

    sources: dict[str, Source]
    slots: tuple[Slot, ...]
    rows: dict[str, int]
    left_out: dict[str, str]
    contamination: dict[str, dict[str, dict[str, int]]]


def prepare(config: BlendConfig, report: Report, *, absent_is_fine: bool = False) -> Prepared:
    """Return what a blend is drawn from; `ConfigError` lists all problems that were found, before any long work.

    With `absent_is_fine`, sources whose data is not there are left out as if they were all `optional`.
    """
    problems = config_problems(config)
    problems += [] if absent_is_fine else [f"evaluation: {file} is not there" for file in absent_evaluation(config)]
    left_out: dict[str, str] = {}
    wanted: list[SourceConfig] = []
    for source in config.sources:
        absent = absent_files(config, source)
        if config.licence == "commercial" and source.licence and not allows_commercial(source.licence):
            left_out[source.name] = f"licence: {source.licence}"
        elif absent and (absent_is_fine or source.optional):
            left_out[source.name] = f"absent: {', '.join(absent)}"
        elif absent:
            problems.append(f"source {source.name!r}: {', '.join(absent)} is not there")
        else:
            wanted.append(source)
    if problems:
        raise _all(problems)
    named = {slot.source for slot in blend_slots(config)}
    sources: dict[str, Source] = {}
    unreachable: HubUnreachableError | None = None
    for source in wanted:
        if source.name not in named:
            continue
        try:
            if source.hub and unreachable:
                raise unreachable
            read = read_source(source, Path(config.data), seed=config.seed, commercial=config.licence == "commercial")
        except (DataError, MissingExtraError) as error:
            unreachable = error if isinstance(error, HubUnreachableError) else unreachable
            if source.hub and (absent_is_fine or source.optional):
                left_out[source.name] = f"absent: {error}"
            else:
                problems.append(f"source {source.name!r}: {error}")
            continue
        if not read.records and read.dropped[FORBIDDEN]:
            left_out[source.name] = f"licence: {source.licence or 'not stated'}"
            continue
        sources[source.name] = read
        report(f"{source.name}: {len(read.records)} rows read")
    if problems:
        raise _all(problems)
    return _cleaned(config, sources, left_out, report, absent_is_fine)


def training_part(source: Source, held_back: float) -> Source:
    """Return a source without its held-back questions, which are counted in `dropped`."""
    kept, held = split_held_back(source, held_back)
    if held.records:
        kept.dropped["held back for fitting"] += len(held.records)
    return kept


def _cleaned(
    config: BlendConfig, read: dict[str, Source], left_out: dict[str, str], report: Report, absent_is_fine: bool
) -> Prepared:
    """Take out what is held back or stands in an evaluation set, and check that enough is left."""
    absent = absent_evaluation(config)
    sets = [
        read_evaluation(of, Path(config.data))
        for of in config.evaluation
        if not {str(Path(config.data) / f) for f in (of.rows, of.corpus) if f} & set(absent)
    ]
    rows = {name: len(source.records) for name, source in read.items()}
    contamination: dict[str, dict[str, dict[str, int]]] = {of.name: {} for of in sets}
    sources = {name: training_part(source, config.held_back) for name, source in read.items()}
    for name, source in sources.items():
        sources[name] = _without(config, source, sets, contamination)
    slots = tuple(blend_slots(config, frozenset(left_out)))
    problems = [
        problem
        for name, source in sources.items()
        for kinds in [frozenset().union(*(slot.kinds for slot in slots if slot.source == name))]
        for problem in data_problems(source, kinds, config.list_size)
    ]
    if problems:
        raise _all(problems)
    if not slots and not absent_is_fine:
        why = "; ".join(f"{name} ({reason})" for name, reason in left_out.items())
        raise ConfigError(f"no source is left to build a blend from: {why}")
    for name, why in left_out.items():
        report(f"{name}: left out, {why}")
    return Prepared(sources, slots, rows, left_out, contamination)


def _without(
    config: BlendConfig,
    source: Source,
    sets: Sequence[EvaluationSet],
    contamination: dict[str, dict[str, dict[str, int]]],
) -> Source:
    for of, found in zip(sets, overlaps(source, sets, config.max_overlap), strict=True):
        if found:
            contamination[of.name][source.name] = found.as_json()
            source = without(source, found) if config.remove_contaminated else source
    return source


def _all(problems: list[str]) -> ConfigError:
    return ConfigError(f"the blend cannot be built: {'; '.join(problems)}")
