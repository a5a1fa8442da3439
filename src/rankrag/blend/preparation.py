"""From a configuration to sources that are read, clean and ready to draw from; or all its problems in one error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rankrag.blend.checks import absent_evaluation, absent_files, config_problems, data_problems
from rankrag.blend.contamination import EvaluationSet, overlaps, read_evaluation, without
from rankrag.blend.licences import allows_commercial
from rankrag.blend.reading import FORBIDDEN, read_source
from rankrag.blend.sources import Source, split_held_back
from rankrag.blend.weights import Slot, blend_slots
from rankrag.config import BlendConfig, SourceConfig
from rankrag.data.hub import HubUnreachableError
from rankrag.data.progress import Progress, quiet, watched
from rankrag.errors import ConfigError, DataError, MissingExtraError

Report = Callable[[str], None]

Made = Callable[[SourceConfig, Sequence[Slot]], bool]
"""Whether the examples of a source for these slots of the blend are there already, so that it need not be read."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The training parts of all sources that were read, the parts of the blend, and what is not in them.

    `rows` is how many rows of a source could be used, the held-back ones among them; `left_out` says why a source is
    not there; `contamination` holds what was found, by source and evaluation set, `uncompared` the files that a set
    lacked, by set.
    """

    sources: dict[str, Source]
    slots: tuple[Slot, ...]
    rows: dict[str, int]
    left_out: dict[str, str]
    contamination: dict[str, dict[str, dict[str, int]]]
    uncompared: dict[str, list[str]]


def prepare(
    config: BlendConfig,
    report: Report,
    *,
    progress: Progress = quiet,
    made: Made = lambda _wanted, _slots: False,
    absent_is_fine: bool = False,
) -> Prepared:
    """Return what a blend is drawn from; `ConfigError` lists all problems that were found, before any long work.

    Sources that are `made` are not read. With `absent_is_fine`, sources whose data is not there are left out as if they
    were all `optional`. Where the configuration itself is wrong, files are looked through nevertheless, hubs are not.
    """
    problems = config_problems(config)
    absent_sets = absent_evaluation(config)
    needed = () if absent_is_fine else [of.rows for of in config.evaluation if not of.optional]
    problems += [f"evaluation: {file} is not there" for name in needed for file in absent_sets.get(name, ())]
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
    read: dict[str, Source] = {}
    if problems:
        files = [source for source in wanted if source.rows and not source.hub]
        problems += _read(config, files, read, left_out, report, progress, absent_is_fine)
    else:
        named = {slot.source for slot in blend_slots(config)}
        wanted = [source for source in wanted if source.name in named]
    while not problems and (unread := _unread(config, wanted, {*read, *left_out}, left_out, made)):
        problems += _read(
            config, unread, read, left_out, report, progress, absent_is_fine
        )  # one less changes all shares
    sets, broken = _evaluation_sets(config, progress) if read or problems else ([], [])
    if problems + broken:
        raise _all(problems + broken)
    in_order = {source.name: read[source.name] for source in wanted if source.name in read}
    return _cleaned(config, in_order, sets, left_out, report, progress, absent_is_fine)


def training_part(source: Source, held_back: float) -> Source:
    """Return a source without its held-back questions, which are counted in `dropped`."""
    kept, held = split_held_back(source, held_back)
    if held.records:
        kept.dropped["held back for fitting"] += len(held.records)
    return kept


def _unread(
    config: BlendConfig, wanted: Sequence[SourceConfig], known: set[str], left_out: Iterable[str], made: Made
) -> list[SourceConfig]:
    slots = blend_slots(config, frozenset(left_out))
    return [source for source in wanted if source.name not in known and not made(source, slots)]


def _read(
    config: BlendConfig,
    unread: Sequence[SourceConfig],
    read: dict[str, Source],
    left_out: dict[str, str],
    report: Report,
    progress: Progress,
    absent_is_fine: bool,
) -> list[str]:
    """Put every source into `read` or `left_out`; return what is wrong with those that cannot be read or are empty."""
    problems: list[str] = []
    unreachable = False
    commercial = config.licence == "commercial"
    for source in unread:
        try:
            if source.hub and unreachable:
                raise HubUnreachableError(source.hub.name, "it was asked for another source")
            found = read_source(source, Path(config.data), seed=config.seed, commercial=commercial, progress=progress)
        except (DataError, MissingExtraError) as error:
            unreachable = unreachable or isinstance(error, HubUnreachableError)
            if source.hub and (absent_is_fine or source.optional):
                left_out[source.name] = f"absent: {error}"
            else:
                problems.append(f"source {source.name!r}: {error}")
            continue
        if not found.records and found.dropped[FORBIDDEN]:
            left_out[source.name] = f"licence: {source.licence or 'not stated'}"
            continue
        if not found.records:
            problems += data_problems(found, (), config.list_size)
            continue
        read[source.name] = found
        report(f"{source.name}: {len(found.records)} rows read")
    return problems


def _cleaned(
    config: BlendConfig,
    read: dict[str, Source],
    sets: Sequence[EvaluationSet],
    left_out: dict[str, str],
    report: Report,
    progress: Progress,
    absent_is_fine: bool,
) -> Prepared:
    """Take out what is held back or stands in an evaluation set, and check that enough is left."""
    rows = {name: len(source.records) for name, source in read.items()}
    contamination: dict[str, dict[str, dict[str, int]]] = {}
    sources = {name: training_part(source, config.held_back) for name, source in read.items()}
    for name, source in sources.items():
        sources[name], contamination[name] = _without(config, source, sets, progress)
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
    uncompared = absent_evaluation(config)
    for name, files in uncompared.items():
        report(f"evaluation {name}: not compared with, absent: {', '.join(files)}")
    return Prepared(sources, slots, rows, left_out, contamination, uncompared)


def _evaluation_sets(config: BlendConfig, progress: Progress) -> tuple[list[EvaluationSet], list[str]]:
    """Return the evaluation sets that are there, and what is wrong with those that cannot be read."""
    absent = absent_evaluation(config)
    there = [of for of in config.evaluation if of.rows not in absent]
    sets, problems = [], []
    for of in watched(there, progress, "reading evaluation sets", len(there)) if there else ():
        try:
            sets.append(read_evaluation(of, Path(config.data)))
        except DataError as error:
            problems.append(f"evaluation: {error}")
    return sets, problems


def _without(
    config: BlendConfig, source: Source, sets: Sequence[EvaluationSet], progress: Progress
) -> tuple[Source, dict[str, dict[str, int]]]:
    """Return the source to train on, and what of it stands in evaluation sets, by set."""
    contamination = {}
    for of, found in zip(sets, overlaps(source, sets, config.max_overlap, progress), strict=True):
        if found:
            contamination[of.name] = found.as_json()
            source = without(source, found) if config.remove_contaminated else source
    return source, contamination


def _all(problems: list[str]) -> ConfigError:
    return ConfigError(f"the blend cannot be built: {'; '.join(problems)}")
