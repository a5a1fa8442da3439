"""`evaluate`: systems on sets. Each system answers the questions of each set, and each question becomes a line.

A run folder holds::

    run.json                                     what was measured: systems, sets, questions
    indexes/CORPUS/                              the passages, once for all sets that share them
    SET-DATA/bm25-HISTORY.jsonl                  ids that retrieval found (also dense-HISTORY-ENCODER.jsonl)
    SET-DATA/nearness-HISTORY-ENCODER.jsonl      cosines of questions and candidates
    SET-DATA/MODEL/*.jsonl                       what the model said: judgements, replies, citations
    SET-DATA/system-NAME/questions.jsonl         the lines of a system
    SET-DATA/passages.jsonl                      the passages that these lines name

DATA and MODEL are digests, so that no journal is used for other data or another model. Systems share the searches, and
those with one model share its judgements and replies. A run that was killed goes on where it stopped. All figures are
made from the lines (`aggregate.read_run`).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from rankrag.contract import Contract, HistoryQuery
from rankrag.data.catalogue import BENCHMARKS
from rankrag.data.load import at_hand, load_set
from rankrag.data.progress import Progress, quiet
from rankrag.data.sets import Benchmark, TestSet
from rankrag.errors import ConfigError, MissingExtraError
from rankrag.evaluation.aggregate import Evaluation, read_run
from rankrag.evaluation.description import RunDescription, describe, machines, made_with, save_description
from rankrag.evaluation.first_stage import FirstStage, OpenEncoder
from rankrag.evaluation.lines import save_lines, save_passages
from rankrag.evaluation.model_key import model_key, ranker_key
from rankrag.evaluation.rankers import open_ranker
from rankrag.evaluation.scoring import line_of
from rankrag.evaluation.standard import takes_part
from rankrag.evaluation.steps import PreparedSet, SystemParts, run_system
from rankrag.evaluation.systems import NOTHING, RankerKind, System, check_systems
from rankrag.evaluation.work import JudgeFunction, JudgingWork, ModelWork, NearnessWork
from rankrag.models import LanguageModel
from rankrag.opening import Say, open_nearness
from rankrag.retrieval.encoder import MINILM, Encoder

OpenModel = Callable[[str], tuple[LanguageModel, str]]
"""Returns a model by name, with the directory of its weights (or the name, if it has none)."""

OpenRanker = Callable[[RankerKind, str], JudgeFunction]


@dataclass(frozen=True)
class Openers:
    """How the parts of systems are opened by name."""

    model: OpenModel
    encoder: OpenEncoder = Encoder
    ranker: OpenRanker = open_ranker


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
    sets: Sequence[str | Benchmark | TestSet] | None = None,
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
        sets: sets, or names of them; None takes all whose files are in `data`.
        progress: hears of what takes long.
        say: gets a line about what cannot be done as fitted.

    Raises:
        ConfigError: for an unknown or repeated name, before any work.
        MissingExtraError: for a package that a set or a system needs, before any work.
        ModelError: for a score that is not a number.
    """
    check_systems(systems)
    openers = replace(openers, encoder=cache(openers.encoder))
    read = [
        of_set if isinstance(of_set, TestSet) else load_set(of_set, data, passages=_searches(systems))
        for of_set in _sets(sets, data)
    ]
    for test_set in read:
        for system in systems:
            system.on(test_set.benchmark.paper)  # refuses a set that the paper does not have
    check_packages(systems, read)
    prepared = [prepare_set(test_set, run, systems, openers, settings, progress) for test_set in read]
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    machine, described = machines(run, settings.machine), tuple(of_set.described for of_set in prepared)
    description = RunDescription(
        command=settings.command,
        machine=machine,
        date=today,
        seed=settings.seed,
        systems=tuple(systems),
        sets=described,
        made_with=made_with(),
    )
    save_description(description, run)
    opened = _Opened(openers, progress, say)
    filled = []
    for place, system in enumerate(systems):
        opened.keep({name for later in systems[place:] for name in later.models})
        filled.append(system.with_contract(opened.contract(system), settings.history))
        for of_set in prepared:
            if system.name in (of_set.described.systems or ()):
                _write_lines(filled[-1].on(of_set.described.paper), of_set, opened)
    description = replace(description, systems=tuple(filled), made_with=description.made_with | opened.keys)
    save_description(description, run)
    return read_run(run)


def prepare_set(
    test_set: TestSet, run: Path, systems: Sequence[System], openers: Openers, settings: Settings, progress: Progress
) -> PreparedSet:
    """Return a set with its sample, and the systems that take part in it."""
    size = test_set.benchmark.small_sample if settings.sample is None else settings.sample or None
    sample = test_set.sample(size, settings.seed)
    part = tuple(system.name for system in systems if takes_part(system, test_set, sample, systems))
    described = describe(test_set, tuple(judged.question.id for judged in sample), part)
    stage = FirstStage(test_set, run, openers.encoder, progress)
    return PreparedSet(test_set, sample, stage, described, stage.folder, settings.seed)


def check_packages(systems: Sequence[System], sets: Sequence[TestSet]) -> None:
    """Raise `MissingExtraError` for an optional package that these systems or sets need."""
    lexical = any(system.retriever in ("bm25", "hybrid", "five") for system in systems)
    own = [of_set.benchmark.title for of_set in sets if lexical and not (of_set.searchable or of_set.ranked)]
    if own and not _installed("bm25s"):
        raise MissingExtraError(f'{own[0]}: ordering candidates needs bm25s: pip install "rankrag[evaluation]"')
    rankers = [
        s.ranker for s in systems if s.ranked_by[0] in ("cross-encoder", "bi-encoder") and s.ranked_by[1] != MINILM
    ]
    if rankers and not _installed("sentence_transformers"):
        raise MissingExtraError(f"{rankers[0]}: needs sentence-transformers: pip install sentence-transformers")


def _installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ValueError:  # what has been put in its place has no specification
        return False


def _sets(sets: Sequence[str | Benchmark | TestSet] | None, data: Path) -> list[Benchmark | TestSet]:
    """Return the sets that are asked for; `ConfigError` for an unknown or repeated one."""
    wanted = at_hand(data) if sets is None else sets
    if not wanted:
        raise ConfigError(f"{data}: no set is there; `rankrag evaluate --list` says where each one comes from")
    unknown = [name for name in wanted if isinstance(name, str) and name not in BENCHMARKS]
    if unknown:
        raise ConfigError(f"{', '.join(unknown)}: not known; sets are {', '.join(BENCHMARKS)}")
    found = [BENCHMARKS[one] if isinstance(one, str) else one for one in wanted]
    names = [one.benchmark.name if isinstance(one, TestSet) else one.name for one in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"sets: {', '.join(twice)}: given twice; names must differ")
    return found


def _searches(systems: Sequence[System]) -> bool:
    return not all(system.closed_book for system in systems)


class _Opened:
    """Models, rankers and journals that are open; those of one model and set are opened once."""

    def __init__(self, openers: Openers, progress: Progress, say: Say) -> None:
        self._openers, self._progress, self._say = openers, progress, say
        self._models: dict[str, tuple[LanguageModel, str]] = {}
        self._work: dict[tuple[Path, str], ModelWork] = {}
        self._rankers: dict[str, JudgeFunction] = {}
        self.keys: dict[str, str] = {}

    def keep(self, names: set[str]) -> None:
        """Let go of models that no later system needs."""
        self._models = {name: model for name, model in self._models.items() if name in names}
        self._work = {key: work for key, work in self._work.items() if key[1] in names}

    def contract(self, system: System) -> Contract | None:
        """Return the contract of a system's ranker, else of the model that answers; None without a model."""
        return self._model(system.models[0])[0].contract if system.models else None

    def parts(self, system: System, of_set: PreparedSet) -> SystemParts:
        """Return what ranks and answers a set, with its journals."""
        kind, ranker = system.ranked_by
        answering = self._of_model(system.model, of_set) if system.model != NOTHING else None
        if kind == "none":
            return SystemParts(None, answering, Contract(), ranked_by="unranked")
        if kind != "model":
            key = ranker_key(kind, ranker)
            judge = self._rankers.setdefault(system.ranker, self._openers.ranker(kind, ranker))
            passages, title = of_set.test_set.passages, of_set.described.title
            judging = JudgingWork(judge, passages, of_set.folder / key, title, self._progress)
            return SystemParts(judging, answering, Contract(), None, kind == "cross-encoder", key)
        contract = self._model(ranker)[0].contract
        return SystemParts(
            self._of_model(ranker, of_set).judging,
            answering,
            contract if system.abstain else replace(contract, abstain_below=None),
            None if system.pure else self._nearness(contract, system, of_set),
            ranked_by="" if ranker == system.model else self.keys[ranker],
        )

    def _model(self, name: str) -> tuple[LanguageModel, str]:
        if name not in self._models:
            self._models[name] = self._openers.model(name)
            self.keys[name] = model_key(*self._models[name])
        return self._models[name]

    def _of_model(self, name: str, of_set: PreparedSet) -> ModelWork:
        model, key = self._model(name)[0], (of_set.folder, name)
        if key not in self._work:
            folder, passages = of_set.folder / self.keys[name], of_set.test_set.passages
            self._work[key] = ModelWork(model, passages, folder, of_set.described.title, self._progress)
        return self._work[key]

    def _nearness(self, contract: Contract, system: System, of_set: PreparedSet) -> NearnessWork | None:
        """Return what an encoder adds to a language model's order; the system's own encoder comes first."""
        if not contract.similarity_weight:
            return None
        nearness = open_nearness(contract, self._openers.encoder(system.encoder), self._say)
        if nearness is None:
            return None
        searched = of_set.test_set.benchmark.searched_by(system.history_query or "last")
        title, passages = of_set.described.title, of_set.test_set.passages
        return NearnessWork(nearness, searched, passages, of_set.folder, title, self._progress)


def _write_lines(system: System, of_set: PreparedSet, opened: _Opened) -> None:
    """Run a system on a set and write its lines, with the passages that a page shows."""
    parts = opened.parts(system, of_set)
    answers = parts.answering is not None and of_set.test_set.benchmark.style is not None
    lines = [
        line_of(system, of_set.test_set, trace, answers=answers, probabilities=parts.probabilities)
        for trace in run_system(system, of_set, parts)
    ]
    if system.role == "compared":
        save_passages(of_set.folder, lines, of_set.test_set.passages)
    save_lines(of_set.folder / system.folder, lines)
