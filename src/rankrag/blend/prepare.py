"""From a configuration to sources that are read, clean and ready to draw from; or all its problems in one error."""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rankrag.blend.contamination import EvaluationSet, cleaned, evaluation_files, marks_of
from rankrag.blend.kinds import LIST_KINDS
from rankrag.blend.licences import allows_commercial
from rankrag.blend.sources import FORBIDDEN, QuestionSet, read_source, split_held_back
from rankrag.blend.weights import Slot, blend_slots
from rankrag.config.blend import BlendConfig, SourceConfig
from rankrag.data.hub import HubUnreachableError
from rankrag.data.progress import Progress, quiet, watched
from rankrag.errors import ConfigError, DataError, MissingExtraError
from rankrag.types import DataKind

Report = Callable[[str], None]

_REFUSED = (
    "does not allow commercial use, or is not stated; leave such data out with `licence: commercial`, or say that the "
    "blend is for research only with `research: true`"
)

Made = Callable[[SourceConfig, Sequence[Slot]], object]
"""Returns something if the examples of a source for these slots are there already, so that it need not be read."""


@dataclass(frozen=True, slots=True)
class PreparedBlend:
    """The training parts of all sources that were read, the slots of the blend, and the sources that are not in it.

    Attributes:
        sources: by name.
        slots: the parts of the blend.
        rows: how many rows of a source could be used, the held-back ones included.
        left_out: why a source is not there.
        contamination: what was found in evaluation sets, by source and set.
        uncompared: the files that an evaluation set lacked, by set.
    """

    sources: dict[str, QuestionSet]
    slots: tuple[Slot, ...]
    rows: dict[str, int]
    left_out: dict[str, str]
    contamination: dict[str, dict[str, dict[str, int]]]
    uncompared: dict[str, list[str]]


def prepare_blend(
    config: BlendConfig,
    report: Report,
    *,
    progress: Progress = quiet,
    made: Made = lambda _wanted, _slots: None,
) -> PreparedBlend:
    """Return what a blend is drawn from; `ConfigError` lists all problems, before any long work.

    Sources that are `made` are not read. If the configuration itself is wrong, files are checked nevertheless, but not
    hubs.
    """
    reading = _Reading(config, report, progress)
    if reading.problems:
        reading.read_all([source for source in reading.wanted if source.rows and not source.hub])
    else:
        named = {slot.source for slot in blend_slots(config)}
        reading.wanted = [source for source in reading.wanted if source.name in named]
        # each source that turns out to be missing changes the shares of the others, and so what is made already
        while not reading.problems and (unread := reading.unread(made)):
            reading.read_all(unread)
    sets = reading.evaluation_sets() if reading.read or reading.problems else []
    if reading.problems:
        raise _all(reading.problems)
    return reading.cleaned(sets)


def config_problems(config: BlendConfig) -> list[str]:
    """Return all mistakes of the configuration itself, one line each; no file is looked at."""
    names = Counter(source.name for source in config.sources)
    problems = [f"source {name!r} stands {n} times; names must differ" for name, n in names.items() if n > 1]
    problems += [] if names else ["'sources' is empty"]
    problems += [f"source {name!r}: a name may not hold '/'" for name in names if "/" in name]
    for source in config.sources:
        problems += [f"source {source.name!r}: {problem}" for problem in _source_problems(source)]
    return problems + list(_share_problems(config))


def data_problems(source: QuestionSet, kinds: Iterable[DataKind], list_size: int) -> list[str]:
    """Return why a source that was read cannot give examples of these kinds, one line a reason."""
    wanted, records, passages = set(kinds), source.records, source.passages
    if not records:
        why = ", ".join(f"{n} {reason}" for reason, n in source.dropped.items())
        return [f"source {source.name!r}: no rows are left" + (f" ({why})" if why else "; its file is empty")]
    has_gold = any(r.positives or r.near for r in records)
    has_lists = len(passages) >= list_size and any((r.positives and r.question.answers) or r.near for r in records)
    found = {
        "no row has a passage, so there is nothing to rank": DataKind.CONTEXT_RANKING in wanted and not passages,
        "no row has a gold passage, so nothing can be asked of one": DataKind.CONTEXT_QA in wanted and not has_gold,
        f"lists of {list_size} passages need that many, and rows with gold passages and answers "
        f"(found: {len(passages)} passages)": bool(wanted & LIST_KINDS) and not has_lists,
    }
    return [f"source {source.name!r}: {problem}" for problem, is_there in found.items() if is_there]


class _Reading:
    """The sources of one configuration while they are read: those read, those left out, and all problems."""

    def __init__(self, config: BlendConfig, report: Report, progress: Progress) -> None:
        self.config, self.report, self.progress = config, report, progress
        self.leaves_out = config.licence == "commercial"
        self.refuses = not self.leaves_out and not config.research
        self.read: dict[str, QuestionSet] = {}
        self.left_out: dict[str, str] = {}
        self.wanted: list[SourceConfig] = []
        self.problems = config_problems(config)
        self.absent_sets: dict[str, list[str]] = {}
        for one in config.evaluation:
            if absent := [str(f) for f in evaluation_files(one, Path(config.data)) if not f.is_file()]:
                self.absent_sets[one.rows] = absent
                self.problems += [] if one.optional else [f"evaluation: {file} is not there" for file in absent]
        for source in config.sources:
            self._look_at(source)

    def _look_at(self, source: SourceConfig) -> None:
        data = Path(self.config.data)
        absent = [str(data / f) for f in (source.rows, source.corpus) if f and not (data / f).is_file()]
        if source.licence and not allows_commercial(source.licence) and (self.leaves_out or self.refuses):
            self._forbid(source, f"its licence ({source.licence})")
        elif absent and source.optional:
            self.left_out[source.name] = f"absent: {', '.join(absent)}"
        elif absent:
            self.problems.append(f"source {source.name!r}: {', '.join(absent)} is not there")
        else:
            self.wanted.append(source)

    def _forbid(self, source: SourceConfig, what: str) -> None:
        """Leave out a source whose data does not allow commercial use, or refuse it."""
        if self.leaves_out:
            self.left_out[source.name] = f"licence: {source.licence or 'not stated'}"
        else:
            self.problems.append(f"source {source.name!r}: {what} {_REFUSED}")

    def unread(self, made: Made) -> list[SourceConfig]:
        """Return the sources that are still to be read."""
        slots = blend_slots(self.config, frozenset(self.left_out))
        known = {*self.read, *self.left_out}
        return [source for source in self.wanted if source.name not in known and not made(source, slots)]

    def read_all(self, sources: Sequence[SourceConfig]) -> None:
        """Put every source into `read` or `left_out`, and into `problems` if it cannot be read or is empty."""
        unreachable = False
        for source in sources:
            try:
                if source.hub and unreachable:
                    raise HubUnreachableError(source.hub.name, "it was asked for another source")
                self._take(source)
            except (DataError, MissingExtraError) as error:
                unreachable = unreachable or isinstance(error, HubUnreachableError)
                if source.hub and source.optional:
                    self.left_out[source.name] = f"absent: {error}"
                else:
                    self.problems.append(f"source {source.name!r}: {error}")

    def _take(self, source: SourceConfig) -> None:
        config = self.config
        found = read_source(
            source,
            Path(config.data),
            seed=config.seed,
            commercial=self.leaves_out or self.refuses,
            progress=self.progress,
        )
        forbidden = found.dropped[FORBIDDEN]
        if forbidden and (self.refuses or not found.records):
            self._forbid(source, f"the licence of {forbidden} rows")
        elif found.records:
            self.read[source.name] = found
            self.report(f"{source.name}: {len(found.records)} rows read")
        else:
            self.problems += data_problems(found, (), config.list_size)

    def evaluation_sets(self) -> list[EvaluationSet]:
        """Return the evaluation sets that are there; those that cannot be read are problems."""
        there = [one for one in self.config.evaluation if one.rows not in self.absent_sets]
        sets = []
        for one in watched(there, self.progress, "reading evaluation sets", len(there)) if there else ():
            try:
                sets.append(marks_of(one, Path(self.config.data)))
            except DataError as error:
                self.problems.append(f"evaluation: {error}")
        return sets

    def cleaned(self, sets: Sequence[EvaluationSet]) -> PreparedBlend:
        """Take out what is held back or stands in an evaluation set, and check that enough is left."""
        config = self.config
        sources, contamination = {}, {}
        for name in (source.name for source in self.wanted if source.name in self.read):
            kept, held = split_held_back(self.read[name], config.held_back)
            if held.records:
                kept.dropped["held back for fitting"] += len(held.records)
            sources[name], contamination[name] = cleaned(kept, sets, config.max_overlap, self.progress)
        slots = tuple(blend_slots(config, frozenset(self.left_out)))
        problems: list[str] = []
        for name, source in sources.items():
            kinds = frozenset[DataKind]().union(*(slot.kinds for slot in slots if slot.source == name))
            problems += data_problems(source, kinds, config.list_size)
        if problems:
            raise _all(problems)
        for name, why in self.left_out.items():
            self.report(f"{name}: left out, {why}")
        for name, files in self.absent_sets.items():
            self.report(f"evaluation {name}: not compared with, absent: {', '.join(files)}")
        rows = {name: len(source.records) for name, source in self.read.items()}
        return PreparedBlend(sources, slots, rows, self.left_out, contamination, self.absent_sets)


def _source_problems(source: SourceConfig) -> Iterator[str]:
    if bool(source.rows) == (source.hub is not None):
        yield "name either 'rows' or a 'hub'"
    if DataKind.SFT in source.kinds and len(source.kinds) > 1:
        yield "'sft' stands alone in 'kinds'; make a second source for the other kinds"
    if source.chunk_words and source.irrelevant_below > source.relevant_above:
        yield f"irrelevant_below {source.irrelevant_below} is above relevant_above {source.relevant_above}"


def _share_problems(config: BlendConfig) -> Iterator[str]:
    kinds = {source.name: sorted(source.kinds) for source in config.sources}
    tables: tuple[tuple[str, Mapping[str, float]], ...] = (("weights", config.weights), ("counts", config.counts))
    taken = Counter[tuple[str, str]]()
    for title, table in tables:
        for key, value in table.items():
            name, _, kind = key.partition("/")
            taken.update((name, one) for one in ([kind] if kind else kinds.get(name, [])))
            if name not in kinds:
                close = difflib.get_close_matches(name, kinds, n=1)
                yield f"{title}: {key!r} names no source" + (f"; did you mean {close[0]!r}?" if close else "")
            elif kind and kind not in kinds[name]:
                yield f"{title}: {key!r}: the source makes no {kind!r}, only {', '.join(kinds[name])}"
            if not math.isfinite(value) or value < 0:
                yield f"{title}: {key!r} is {value}; it must be 0 or more"
    yield from (f"{name}/{kind} is given {n} times in weights and counts" for (name, kind), n in taken.items() if n > 1)
    yield from _total_problems(config)
    if taken:
        shared = {name for name, _ in taken}
        yield from (f"source {name!r} has no weight; give it one, or 0" for name in kinds if name not in shared)


def _total_problems(config: BlendConfig) -> Iterator[str]:
    counted = sum(config.counts.values())
    if config.weights and not any(weight > 0 for weight in config.weights.values()):
        yield "weights: all are 0"
    if config.weights and config.examples is None:
        yield "weights share out 'examples', which is not set"
    if config.examples is not None and not config.weights:
        yield "'examples' is shared out by 'weights', of which there are none"
    if config.examples is not None and counted > config.examples:
        yield f"counts sum to {counted}, more than the {config.examples} examples"


def _all(problems: list[str]) -> ConfigError:
    return ConfigError(f"the blend cannot be built: {'; '.join(problems)}")
