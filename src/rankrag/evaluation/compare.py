"""`evaluate` with a configuration: several systems on the same questions, one line for each question first.

A run folder holds, beside what `run` keeps there::

    run.json                                     what is compared, on which questions
    SET-DATA/RANKER/judgements.jsonl             what a model, a cross-encoder or a bi-encoder said of passages
    SET-DATA/nearness-HISTORY-ENCODER.jsonl      cosines of questions and candidates
    SET-DATA/system-NAME/questions.jsonl         one line for each question
    SET-DATA/passages.jsonl                      the passages that these lines name
    comparison.json                              the aggregates, made from the lines

The systems of a run share its first stages, those with one encoder its vectors, and those with one model share its
judgements and replies.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from rankrag.contract import HistoryQuery
from rankrag.data.catalogue import BENCHMARKS
from rankrag.data.load import at_hand, load
from rankrag.data.progress import Progress, quiet
from rankrag.data.sets import Benchmark
from rankrag.errors import ConfigError
from rankrag.evaluation.aggregate import Comparison, aggregated, save_comparison
from rankrag.evaluation.asking import Parts, Prepared, keep_lines
from rankrag.evaluation.description import RunDescription, describe, machines, made_with, save_description
from rankrag.evaluation.first_stage import VECTORS, FirstStages, RetrieverName, first_stages
from rankrag.evaluation.nearness import NearnessWork
from rankrag.evaluation.run import sampled
from rankrag.evaluation.systems import NOTHING, RankerKind, System, check_systems, open_ranker, ranker_key
from rankrag.evaluation.work import JudgeFunction, JudgingWork, ModelWork, model_key
from rankrag.models import LanguageModel
from rankrag.opening import Say, open_nearness
from rankrag.retrieval.encoder import Encoder
from rankrag.retrieval.nearness import Nearness

OpenModel = Callable[[str], tuple[LanguageModel, str]]
"""Returns a model by name with the directory of its weights (or the name, where there is none)."""

OpenRanker = Callable[[RankerKind, str], JudgeFunction]

OpenEncoder = Callable[[str | None], Encoder]
"""Returns an encoder by name, all-MiniLM-L6-v2 for None."""


def compare(
    data: Path,
    run: Path,
    systems: Sequence[System],
    *,
    open_model: OpenModel,
    open_ranker: OpenRanker = open_ranker,
    open_encoder: OpenEncoder = Encoder,
    benchmarks: Sequence[str | Benchmark] | None = None,
    sample: int | None = None,
    seed: int = 0,
    history: HistoryQuery = "last",
    command: str = "",
    machine: str = "",
    progress: Progress = quiet,
    say: Say = lambda _: None,
) -> Comparison:
    """Measure every system on the same questions of every set; return the aggregates, also in `run`.

    Args:
        data: folder of the data sets.
        run: run folder; what it holds already is not done again.
        systems: what is compared; the first one is what the others are tested against.
        open_model: opens language models; each is opened once, and let go after the last system that needs it.
        open_ranker: opens cross-encoders and bi-encoders.
        open_encoder: opens what makes the vectors of dense and hybrid retrieval, once for all systems that name it.
        benchmarks: sets, or names of them; None takes all that are at hand.
        sample: questions of a set; None is the set's own number for a CPU, 0 all of them.
        seed: of the sample.
        history: by which turns conversations are searched (`pipeline.search_queries`).
        command: what a reader types to make the same run.
        machine: in words, for the report.
        progress: hears of what takes long.
        say: gets a line about what cannot be done as fitted.

    Raises:
        ConfigError: for an unknown or repeated name, before any work.
        ModelError: for a score that is not a number.
    """
    check_systems(systems)
    benchmarks = at_hand(data) if benchmarks is None else benchmarks
    if not benchmarks:
        raise ConfigError(f"{data}: no set is there; `rankrag evaluate --list` says where each one comes from")
    unknown = [name for name in benchmarks if isinstance(name, str) and name not in BENCHMARKS]
    if unknown:
        raise ConfigError(f"{', '.join(unknown)}: not known; sets are {', '.join(BENCHMARKS)}")
    open_encoder = cache(open_encoder)
    wanted = [BENCHMARKS[of] if isinstance(of, str) else of for of in benchmarks]
    names = [of.name for of in wanted]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"sets: {', '.join(twice)}: given twice; names must differ")
    prepared = _prepared(data, run, systems, wanted, open_encoder, sample, seed, history, progress)
    machine = machines(run, machine)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    sets = tuple(of[0].described for of in prepared)
    description = RunDescription(command, machine, today, seed, history, tuple(systems), sets, made_with({}))
    save_description(description, run)
    opened: dict[str, tuple[LanguageModel, str]] = {}
    keys: dict[str, str] = {}
    for place, system in enumerate(systems):
        opened |= {name: open_model(name) for name in sorted(system.models - set(opened))}
        keys |= {name: model_key(*of) for name, of in opened.items() if name not in keys}
        kind, name = system.ranked_by
        judging = open_ranker(kind, name) if kind in ("cross-encoder", "bi-encoder") else None
        for of in (by_system[place] for by_system in prepared):
            own = system.on(of.described.paper)
            near = _nearness(own, opened, open_encoder, say)
            keep_lines(own, of, _parts(own, of, opened, judging, near, history, progress), history)
        later: frozenset[str] = frozenset().union(*(other.models for other in systems[place + 1 :]))
        opened = {name: model for name, model in opened.items() if name in later}
    description = replace(description, made_with={**description.made_with, **keys})
    save_description(description, run)
    comparison = aggregated(run, description)
    save_comparison(comparison, run)
    return comparison


def _parts(
    system: System,
    of: Prepared,
    opened: Mapping[str, tuple[LanguageModel, str]],
    judging: JudgeFunction | None,
    near: Nearness | None,
    history: HistoryQuery,
    progress: Progress,
) -> Parts:
    """Open the journals of what ranks and answers a set."""
    title = f"{of.described.title}, {system.name}"

    def work(name: str) -> ModelWork:
        model, weights = opened[name]
        return ModelWork(model, of.test_set.passages, of.folder / model_key(model, weights), title, progress)

    kind, ranker = system.ranked_by
    answering = work(system.model) if system.model != NOTHING else None
    if kind == "none":
        return Parts(None, answering)
    if judging is not None:
        folder = of.folder / ranker_key(kind, ranker)
        return Parts(JudgingWork(judging, of.test_set.passages, folder, title, progress), answering)
    ranking = answering if ranker == system.model and answering else work(ranker)
    contract = opened[ranker][0].contract
    nearness = None
    if near:
        searched = of.test_set.benchmark.searched_by(history)
        nearness = NearnessWork(near, searched, of.test_set.passages, of.folder, title, progress)
    return Parts(ranking.judging, answering, nearness, contract.abstain_below if system.abstain else None)


def _nearness(
    system: System, opened: Mapping[str, tuple[LanguageModel, str]], open_encoder: OpenEncoder, say: Say
) -> Nearness | None:
    """Return what an encoder adds to a language model's order; the system's own encoder comes first."""
    kind, ranker = system.ranked_by
    if kind != "model" or system.pure:
        return None
    contract = opened[ranker][0].contract
    if not contract.similarity_weight:
        return None
    return open_nearness(contract, open_encoder(system.encoder), say)


def _prepared(
    data: Path,
    run: Path,
    systems: Sequence[System],
    benchmarks: Sequence[Benchmark],
    open_encoder: OpenEncoder,
    sample: int | None,
    seed: int,
    history: HistoryQuery,
    progress: Progress,
) -> list[list[Prepared]]:
    """Read and search the sets; return each as every system finds it, in the order of the systems."""
    found = []
    for benchmark in benchmarks:
        here = [system.on(benchmark.paper) for system in systems]
        by_encoder = {of.encoder: _retrievers(here, of.encoder) for of in here}
        searches = any(by_encoder.values())
        test_set = load(benchmark, data, passages=searches)
        questions = sampled(test_set, sample, seed)
        described = describe(test_set, tuple(of.question.id for of in questions))
        prepared = {}
        for name, retrievers in by_encoder.items():
            encoder = open_encoder(name) if set(retrievers) & set(VECTORS) and not test_set.fixed else None
            stages: FirstStages = {}
            if retrievers:
                stages = first_stages(
                    test_set, run, retrievers=retrievers, encoder=encoder, history=history, progress=progress
                )
            made_by = encoder.name if encoder else None
            prepared[name] = Prepared(test_set, questions, stages, described, run / described.folder, made_by)
        found.append([prepared[of.encoder] for of in here])
    return found


def _retrievers(systems: Sequence[System], encoder: str | None) -> tuple[RetrieverName, ...]:
    found = dict.fromkeys(s.retriever for s in systems if s.encoder == encoder)
    return tuple(retriever for retriever in found if retriever != "none")
