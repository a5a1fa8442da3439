"""`evaluate`: systems on sets. Each system answers the questions of each set, and each question becomes a line.

A run folder holds::

    run.json                                     what was measured: systems, sets, questions
    indexes/CORPUS/                              the passages, once for all sets that share them
    SET-DATA/bm25-HISTORY.jsonl                  ids that retrieval found (also dense-HISTORY-ENCODER.jsonl)
    SET-DATA/again-bm25-last.jsonl               ids that second rounds found, by query
    SET-DATA/nearness-HISTORY-ENCODER.jsonl      cosines of questions and candidates
    SET-DATA/MODEL/*.jsonl                       what the model said: judgements, replies, citations
    SET-DATA/system-NAME/questions.jsonl         the lines of a system
    SET-DATA/passages.jsonl                      the passages that these lines name

DATA and MODEL are digests, so that no journal is used for other data or another model. Systems share the searches, and
those with one model share its judgements and replies. A run that was killed goes on where it stopped. All figures are
made from the lines (`aggregate.read_results`).
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from rankrag.config.evaluation import NamedSet, SetConfig
from rankrag.contract import HistoryQuery
from rankrag.data.catalogue import BENCHMARKS, own_set
from rankrag.data.load import at_hand, load_set
from rankrag.data.progress import Progress, quiet
from rankrag.data.sets import Benchmark, TestSet
from rankrag.errors import ConfigError
from rankrag.evaluation.aggregate import Evaluation, read_results
from rankrag.evaluation.description import RunDescription, describe, machines, made_with, save_description
from rankrag.evaluation.first_stage import FirstStage
from rankrag.evaluation.lines import save_lines, save_passages
from rankrag.evaluation.parts import Openers, OpenParts
from rankrag.evaluation.standard import takes_part
from rankrag.evaluation.steps import PreparedSet, run_system
from rankrag.evaluation.systems import System, check_systems
from rankrag.opening import Say


@dataclass(frozen=True, slots=True)
class Settings:
    """What all systems of a run share.

    Attributes:
        sample: questions of a set; None is the set's own number for a CPU, 0 all of them.
        seed: seed of the sample.
        history: turns that conversations are searched by, for systems that do not say; None is as each model was
            fitted.
        command: what a reader types to make the same run.
        machine: the machine in words.
    """

    sample: int | None = None
    seed: int = 0
    history: HistoryQuery | None = None
    command: str = ""
    machine: str = ""


def evaluate(
    data: Path,
    run: Path,
    systems: Sequence[System],
    openers: Openers,
    settings: Settings = Settings(),
    *,
    sets: Sequence[NamedSet | Benchmark | TestSet] | None = None,
    progress: Progress = quiet,
    say: Say = lambda _: None,
) -> Evaluation:
    """Measure every system on the same questions of every set; return the figures.

    Args:
        data: folder of the data sets.
        run: run folder; what it holds is not done again.
        systems: what is measured; the first one is what the others are tested against.
        openers: how models, encoders and rankers are opened; each is opened once.
        settings: what all systems share.
        sets: sets, or names or configurations of them; None takes all whose files are in `data`.
        progress: hears of what takes long.
        say: gets a line about what cannot be done as fitted.

    Raises:
        ConfigError: for an unknown or repeated name, before any work.
        ModelError: for a score that is not a number.
    """
    check_systems(systems)
    openers = replace(openers, encoder=cache(openers.encoder))
    loaded = _loaded(sets, data, systems)
    prepared = [prepare_set(test_set, run, systems, openers, settings, progress) for test_set in loaded]
    description = _described(run, systems, prepared, settings)
    save_description(description, run)
    opened = OpenParts(openers, say)
    filled = []
    for place, system in enumerate(systems):
        opened.keep({name for later in systems[place:] for name in later.models})
        filled.append(system.with_contract(opened.contract(system), settings.history))
        for of_set in prepared:
            if system.name in (of_set.described.systems or ()):
                _write_lines(filled[-1].on(of_set.described.paper), of_set, opened)
    made = description.made_with | opened.keys
    save_description(replace(description, systems=tuple(filled), made_with=made), run)
    return read_results(run)


def _loaded(
    sets: Sequence[NamedSet | Benchmark | TestSet] | None, data: Path, systems: Sequence[System]
) -> list[TestSet]:
    """Return the sets, read and checked against what the systems need."""
    searched = not all(system.closed_book for system in systems)
    wanted = named_sets(at_hand(data) if sets is None else sets)
    if not wanted:
        raise ConfigError(f"{data}: no set is there; `rankrag evaluate --list` says where each one comes from")
    found = [one if isinstance(one, TestSet) else load_set(one, data, passages=searched) for one in wanted]
    for test_set in found:
        for system in systems:
            system.on(test_set.benchmark.paper)  # refuses a set that the paper does not have
    return found


def _described(
    run: Path, systems: Sequence[System], prepared: Sequence[PreparedSet], settings: Settings
) -> RunDescription:
    return RunDescription(
        command=settings.command,
        machine=machines(run, settings.machine),
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        seed=settings.seed,
        systems=tuple(systems),
        sets=tuple(of_set.described for of_set in prepared),
        made_with=made_with(),
    )


def prepare_set(
    test_set: TestSet, run: Path, systems: Sequence[System], openers: Openers, settings: Settings, progress: Progress
) -> PreparedSet:
    """Return a set with its sample, and the systems that take part in it."""
    size = test_set.benchmark.small_sample if settings.sample is None else settings.sample or None
    sample = test_set.sample(size, settings.seed)
    part = tuple(system.name for system in systems if takes_part(system, test_set, sample, systems))
    described = describe(test_set, tuple(judged.question.id for judged in sample), part)
    return PreparedSet(test_set, sample, FirstStage(test_set, run, openers.encoder, progress), described, settings.seed)


def named_sets(sets: Sequence[NamedSet | Benchmark | TestSet]) -> list[Benchmark | TestSet]:
    """Return the sets that are asked for; `ConfigError` for an unknown or repeated one."""
    if unknown := [name for name in sets if isinstance(name, str) and name not in BENCHMARKS]:
        raise ConfigError(f"{', '.join(unknown)}: not known; sets are {', '.join(BENCHMARKS)}")
    found = [BENCHMARKS[o] if isinstance(o, str) else own_set(o) if isinstance(o, SetConfig) else o for o in sets]
    names = [one.benchmark.name if isinstance(one, TestSet) else one.name for one in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"sets: {', '.join(twice)}: given twice; names must differ")
    return found


def _write_lines(system: System, of_set: PreparedSet, opened: OpenParts) -> None:
    """Run a system on a set and write its lines, with the passages that a page shows."""
    lines = run_system(system, of_set, opened.parts(system, of_set))
    folder = of_set.first_stage.folder
    if system.role == "compared":
        save_passages(folder, lines, of_set.test_set.passages)
    save_lines(folder / system.folder, lines)
