"""`evaluate`: all figures of docs/results.md, set by set, from the data folder and a model.

A run folder holds::

    indexes/CORPUS/               the passages, once for all sets that share them
    SET-DATA/bm25-HISTORY.jsonl   ids of every question (also dense-HISTORY-ENCODER.jsonl)
    SET-DATA/nearness-HISTORY-ENCODER.jsonl   cosines of questions and candidates
    SET-DATA/MODEL/*.jsonl        what the model said: judgements, replies, citations
    SET-DATA/system-MODEL/questions.jsonl   one line for each question of the pipeline (`questions`)
    evaluation.json, run.json     the summary and what was measured, written at the end

DATA and MODEL are digests, so work on other data or with another model is never mixed up with it. A run that was
killed goes on where it stopped.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rankrag.contract import HistoryQuery
from rankrag.data.catalogue import BENCHMARKS
from rankrag.data.frozen import freeze, origin_of
from rankrag.data.load import at_hand, load
from rankrag.data.progress import Progress, quiet
from rankrag.data.sets import Judged, TestSet, folder_name
from rankrag.errors import ConfigError
from rankrag.evaluation.asking import Parts, Prepared, keep_lines
from rankrag.evaluation.calibration import calibration
from rankrag.evaluation.description import (
    RunDescription,
    SetDescription,
    describe,
    machines,
    made_with,
    maker_of,
    save_description,
)
from rankrag.evaluation.first_stage import ALL_RETRIEVERS, FirstStages, RetrieverName, first_stages
from rankrag.evaluation.measuring import (
    Settings,
    among_five,
    answer_figures,
    candidates,
    figures,
    reading_figures,
    refusal_figures,
    reranked_figures,
    stopping_figures,
)
from rankrag.evaluation.nearness import NearnessWork
from rankrag.evaluation.summary import ExampleFigures, FirstStageFigures, SetFigures, Summary, save_summary
from rankrag.evaluation.systems import System
from rankrag.evaluation.work import ModelWork, model_key
from rankrag.models import LanguageModel
from rankrag.opening import Say, open_nearness
from rankrag.retrieval.encoder import Encoder
from rankrag.retrieval.fusion import DEPTH


def evaluate(
    data: Path,
    run: Path,
    *,
    model: LanguageModel | None = None,
    model_name: str = "",
    encoder: Encoder | None = None,
    benchmarks: Sequence[str] | None = None,
    retrievers: Sequence[RetrieverName] = ALL_RETRIEVERS,
    n: int = 20,
    k: int = 5,
    sample: int | None = None,
    seed: int = 0,
    command: str = "",
    machine: str = "",
    examples: ExampleFigures | None = None,
    freeze_in: Path | None = None,
    progress: Progress = quiet,
    say: Say = lambda _: None,
) -> Summary:
    """Measure first stages on all questions and the model on a sample; return the summary, also in `run`.

    Args:
        data: folder of the data sets.
        run: run folder; what it holds already is not done again.
        model: ranks and answers; None measures the first stages only.
        model_name: name or directory of the model's weights; journals of another model are not used.
        encoder: makes the vectors of dense and hybrid retrieval; without one there is BM25 only.
        benchmarks: names of sets, see `BENCHMARKS`; None takes all that are at hand.
        retrievers: first stages to measure; the model reranks BM25's candidates and, where asked for, hybrid's.
        n: candidates of a first stage that are reranked.
        k: passages to answer from.
        sample: questions of a set that the model sees; None is the set's own number for a CPU, 0 all of them.
        seed: of samples and shuffles.
        command: what a reader types to make the same figures.
        machine: in words, for the report.
        examples: figures of `examples_check`, to stand in the same summary.
        freeze_in: folder that gets what the one first stage of `retrievers` found of each set, with its passages
            (`frozen`).
        progress: hears of what takes long.
        say: gets a line about what cannot be done as fitted.

    Raises:
        ConfigError: for an unknown name, or a set whose files are missing, before any work on that set.
    """
    benchmarks = at_hand(data) if benchmarks is None else benchmarks
    unknown = sorted(set(benchmarks) - set(BENCHMARKS)) + sorted(set(retrievers) - set(ALL_RETRIEVERS))
    if unknown:
        known = ", ".join((*BENCHMARKS, *ALL_RETRIEVERS))
        raise ConfigError(f"{', '.join(unknown)}: not known; sets and retrievers are {known}")
    if not benchmarks:
        raise ConfigError(f"{data}: no set is there; `rankrag evaluate --list` says where each one comes from")
    if n < 1 or not 1 <= k <= n:
        raise ConfigError(f"n={n}, k={k}: n must be at least 1 and k between 1 and n")
    if freeze_in is not None and (len(retrievers) != 1 or (encoder is None and retrievers[0] != "bm25")):
        raise ConfigError(f"{', '.join(retrievers)}: one first stage can be frozen; name it, with its encoder")
    contract = model.contract if model is not None else None
    settings = Settings(n, k, contract.abstain_below if contract else None, seed)
    nearness = open_nearness(contract, encoder, say) if contract else None
    history: HistoryQuery = contract.history_query if contract else "last"
    best: RetrieverName = "hybrid" if encoder is not None and "hybrid" in retrievers else "bm25"
    system = System(_shown(model_name) or "model", model_name or "model", "model", best, n, k)
    sets: list[SetFigures] = []
    described: list[SetDescription] = []
    for name in benchmarks:
        test_set = load(BENCHMARKS[name], data)
        stages = first_stages(test_set, run, retrievers=retrievers, encoder=encoder, history=history, progress=progress)
        found = first_stage_figures(test_set, stages, retrievers)
        if freeze_in is not None:
            searched, of = test_set.benchmark.searched_by(history), test_set.benchmark
            made_by = encoder.name if encoder else None
            origin = test_set.origin or origin_of(
                retrievers[0], made_by, searched, of.corpus, DEPTH, len(test_set.questions)
            )
            freeze(of, test_set.questions, stages[retrievers[0], searched], test_set.passages, freeze_in, origin)
        work = near = None
        if model is not None:
            folder, title = run / folder_name(test_set), test_set.benchmark.title
            work = ModelWork(model, test_set.passages, folder / model_key(model, model_name), title, progress)
            searched = test_set.benchmark.searched_by(history)
            near = NearnessWork(nearness, searched, test_set.passages, folder, title, progress) if nearness else None
        sets.append(measure_set(test_set, stages, found, work, near, settings, sample=sample, history=history))
        sets[-1] = replace(sets[-1], first_stage=maker_of(test_set))
        if work is not None:
            questions = sampled(test_set, sample, seed)
            about = describe(test_set, tuple(of.question.id for of in questions))
            withheld_below = settings.abstain_below if test_set.benchmark.unanswerable else None
            parts = Parts(work.judging, work, near, withheld_below)
            made_by = encoder.name if encoder is not None and best == "hybrid" else None
            prepared = Prepared(test_set, questions, stages, about, run / about.folder, made_by)
            lines = keep_lines(system, prepared, parts, history)
            sets[-1] = replace(sets[-1], calibration=calibration(lines))
            described.append(about)
    machine = machines(run, machine)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    if described:
        keys = made_with({model_name: model_key(model, model_name)} if model else {})
        save_description(RunDescription(command, machine, today, seed, history, (system,), tuple(described), keys), run)
    summary = Summary(
        command,
        machine,
        today,
        _shown(model_name) if model is not None else "",
        n,
        k,
        seed,
        nearness.weight if nearness else 0.0,
        settings.abstain_below,
        history,
        tuple(sets),
        examples,
    )
    save_summary(summary, run)
    return summary


def first_stage_figures(
    test_set: TestSet, stages: FirstStages, retrievers: Sequence[RetrieverName]
) -> tuple[FirstStageFigures, ...]:
    """Return the figures of the retrievers asked for, on all questions; none for questions without an answer."""
    if test_set.benchmark.unanswerable or test_set.benchmark.metric is None:
        return ()
    if test_set.fixed:
        stages, retrievers = {("bm25", "last"): stages["bm25", "last"]}, ("bm25",)
    conversations = test_set.benchmark.style == "conversation" and not test_set.fixed
    return tuple(
        FirstStageFigures(
            retriever,
            history if conversations else "",
            len(test_set.questions),
            figures(test_set, test_set.questions, [rankings[q.question.id] for q in test_set.questions]),
        )
        for (retriever, history), rankings in stages.items()
        if retriever in retrievers
    )


def measure_set(
    test_set: TestSet,
    stages: FirstStages,
    first: tuple[FirstStageFigures, ...],
    work: ModelWork | None,
    near: NearnessWork | None,
    settings: Settings,
    *,
    sample: int | None,
    history: HistoryQuery,
) -> SetFigures:
    """Return all figures of a set; without `work`, those of the first stages."""
    benchmark = test_set.benchmark
    if work is None:
        return SetFigures(benchmark.name, benchmark.title, benchmark.metric or "", benchmark.target, first)
    questions = sampled(test_set, sample, settings.seed)
    searched = benchmark.searched_by(history)
    searches = ("bm25",) if test_set.fixed else ("bm25", "hybrid")
    reranked = {name: stages[name, searched] for name in searches if (name, searched) in stages}
    lexical, last = reranked["bm25"], list(reranked)[-1]
    if benchmark.unanswerable:
        reranked = {last: reranked[last]}  # nothing but the pipeline's own refusals is measured
    wanted = [(of, candidates(of, list(reranked.values()), settings.n)) for of in questions]
    readable = [of for of in questions if _readable(test_set, of)]
    wanted = [
        (of, tuple(dict.fromkeys(ids + among_five(of, lexical, settings.seed))) if _readable(test_set, of) else ids)
        for of, ids in wanted
    ]
    judged = work.judgements(wanted)
    if near:
        judged = near.added(judged, wanted)
    final = reranked[last]
    answered = benchmark.style is not None
    right = answered and not benchmark.unanswerable
    return SetFigures(
        benchmark.name,
        benchmark.title,
        benchmark.metric or "",
        benchmark.target,
        first,
        ()
        if benchmark.unanswerable or benchmark.metric is None
        else tuple(
            reranked_figures(test_set, questions, name, rankings, judged, settings)
            for name, rankings in reranked.items()
        ),
        answer_figures(work, benchmark.answer_metrics, questions, final, judged, settings) if right else None,
        reading_figures(work, readable, lexical, judged, settings) if readable else None,
        refusal_figures(work, benchmark, questions, final, judged, settings) if answered else None,
        stopping_figures(work, questions, final, judged, settings, answered=right)
        if all(of.gold for of in questions) and not (benchmark.unanswerable or benchmark.evidence)
        else (),
    )


def sampled(test_set: TestSet, sample: int | None, seed: int) -> tuple[Judged, ...]:
    """Return the questions that a model sees: `sample` of them, all for 0, the set's own number for None."""
    return test_set.sample(test_set.benchmark.small_sample if sample is None else sample or None, seed)


def _readable(test_set: TestSet, of: Judged) -> bool:
    """Whether a question is read from its gold passage, which a frozen run may lack."""
    return test_set.benchmark.reading and of.gold[0] in test_set.passages


def _shown(model_name: str) -> str:
    return Path(model_name).name if Path(model_name).is_dir() else model_name
