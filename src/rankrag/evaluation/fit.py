"""`fit`: the contract's threshold, weight of the first stage and history, from held-back training questions only.

The questions are those that the blend keeps back (5 % of the training rows, by document); no dev set is read.
Unanswerable ones are SQuAD 2.0's, and the same questions with every passage that may answer them taken away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from rankrag.blend.mixture import held_back_part
from rankrag.blend.sources import Source
from rankrag.config import BlendConfig, SourceConfig
from rankrag.contract import Contract, HistoryQuery
from rankrag.errors import ConfigError
from rankrag.evaluation.benchmarks import Benchmark, Judged, TestSet, folder_name
from rankrag.evaluation.first_stage import FirstStages, Ids, Progress, quiet
from rankrag.evaluation.measuring import Rankings, candidates
from rankrag.evaluation.metrics import recall_at
from rankrag.evaluation.run import first_stages
from rankrag.evaluation.selection import Case, Threshold, WeightTrial, best_threshold, best_weight, weight_trials
from rankrag.evaluation.work import ModelWork, model_key
from rankrag.matching import contains_any, near_duplicate
from rankrag.models import LanguageModel
from rankrag.retrieval.dense import Encoder
from rankrag.types import Passage

SOURCES = ("squad", "nq", "hotpotqa", "2wiki", "doc2dial")
UNANSWERABLE = "squad2"
MULTI_HOP = ("hotpotqa", "2wiki")


@dataclass(frozen=True, slots=True)
class FitReport:
    """How the values were found: questions by source, every weight tried, R@5 by history, the threshold's shares.

    A source with 0 questions holds nothing back, because too few documents make it up.
    """

    questions: dict[str, int]
    weights: tuple[WeightTrial, ...]
    history_recall: dict[str, float]
    threshold: Threshold
    answerable: int
    unanswerable: int

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON takes it."""
        return asdict(self)


def fit(
    config: BlendConfig,
    run: Path,
    model: LanguageModel,
    *,
    model_name: str,
    encoder: Encoder | None = None,
    sources: Sequence[str] = SOURCES,
    unanswerable: str | None = UNANSWERABLE,
    n: int = 20,
    questions: int = 60,
    seed: int = 0,
    progress: Progress = quiet,
) -> tuple[Contract, FitReport]:
    """Return the model's contract with fitted values, and how they were found; save it with `save_contract`.

    Args:
        config: of the blend that the model was trained on; it says what was held back.
        run: run folder; a run that was killed goes on where it stopped.
        model: judges `n` candidates of each question.
        model_name: name or directory of its weights.
        encoder: for hybrid retrieval; without one the values are fitted on BM25 alone.
        sources: names of the config's sources to fit on; one with conversations settles the history.
        unanswerable: the source of questions that look answerable; None has made ones only.
        n: candidates of each first stage.
        questions: of one source, at most.
        seed: of the questions drawn.
        progress: hears of what takes long.
    """
    sets = held_back_sets(config, (*sources, *([unanswerable] if unanswerable else [])))
    fitted_on = [name for name in sources if name in sets]
    if not fitted_on:
        raise ConfigError(f"{', '.join(sources)}: none holds back a question with a passage; raise held_back")
    stages = {name: first_stages(of, run, encoder=encoder, progress=progress) for name, of in sets.items()}
    talks = [name for name in fitted_on if sets[name].benchmark.style == "conversation"]
    recall: dict[str, float] = {}
    if talks:
        recall = {h: fmean(_recall_at_5(sets[t], stages[t], h) for t in talks) for h in _HISTORIES}
    history: HistoryQuery = "all" if recall and recall["all"] > recall["last"] else "last"

    found: dict[str, JudgedSource] = {}
    for name, test_set in sets.items():
        searched: HistoryQuery = history if name in talks else "last"
        first = [stages[name][r, searched] for r in ("bm25", "hybrid") if (r, searched) in stages[name]]
        folder = run / folder_name(test_set) / model_key(model, model_name)
        work = ModelWork(model, test_set.passages, folder, test_set.benchmark.title, progress)
        found[name] = judge_source(work, test_set, test_set.sample(questions, seed), first, n)
    trials = weight_trials(
        {name: found[name].cases for name in fitted_on},
        {name: sets[name].benchmark.metric or "R@1" for name in fitted_on},
    )
    answerable = [best for name in fitted_on for best in found[name].answerable]
    not_answerable = [best for of in found.values() for best in of.unanswerable]
    threshold = best_threshold(answerable, not_answerable)
    fitted = replace(
        model.contract,
        first_stage_weight=best_weight(trials),
        abstain_below=threshold.below,
        history_query=history if talks else model.contract.history_query,
    )
    asked = (*sources, *([unanswerable] if unanswerable else []))
    counts = {name: len(found[name].cases) if name in found else 0 for name in asked}
    return fitted, FitReport(counts, trials, recall, threshold, len(answerable), len(not_answerable))


@dataclass(frozen=True, slots=True)
class JudgedSource:
    """A source's questions, and the log-odds of the best passage of each, with and without what answers it."""

    cases: tuple[Case, ...]
    answerable: tuple[float, ...]
    unanswerable: tuple[float, ...]


def judge_source(
    work: ModelWork, test_set: TestSet, questions: Sequence[Judged], first: Sequence[Rankings], n: int
) -> JudgedSource:
    """Judge the first stages' `n` candidates of these questions; the last first stage is the one answered from.

    A question is answerable where a gold passage is among the candidates. Less the passages that answer it, it is an
    unanswerable one; a source of unanswerable questions keeps all of them.
    """
    never = test_set.benchmark.unanswerable
    judged = work.judgements([(of, candidates(of, first, n)) for of in questions])
    cases, answerable, unanswerable = [], [], []
    for of in questions:
        odds = {i: j.log_odds for i, j in judged[of.question.id].items()}
        cases.append(Case(of.gold, tuple(stage[of.question.id][:n] for stage in first), odds))
        ids = cases[-1].first_stages[-1]
        left = ids if never else without_answers(of, ids, test_set.passages)
        if not never and not set(of.gold).isdisjoint(ids):
            answerable.append(max(odds[i] for i in ids))
        if left:
            unanswerable.append(max(odds[i] for i in left))
    return JudgedSource(tuple(cases), tuple(answerable), tuple(unanswerable))


_HISTORIES: tuple[HistoryQuery, ...] = ("last", "all")


def held_back_sets(config: BlendConfig, names: Sequence[str]) -> dict[str, TestSet]:
    """Return the held-back questions of these sources as sets; sources of one corpus share their passages.

    A source that holds nothing back is left out. `ConfigError` names sources that the config lacks.
    """
    known = {source.name: source for source in config.sources}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(f"the blend has no source {', '.join(unknown)}; it has {', '.join(known)}")
    parts = {name: held_back_part(config, known[name]) for name in names}
    shared: dict[str, dict[str, Passage]] = {}
    for name, part in parts.items():
        shared.setdefault(known[name].corpus or name, {}).update(part.passages)
    found = {}
    for name, part in parts.items():
        judged = tuple(_judged(part))
        if judged:
            benchmark = _benchmark(known[name], unanswerable=not any(record.positives for record in part.records))
            found[name] = TestSet(
                benchmark, judged, shared[known[name].corpus or name], searchable=bool(benchmark.corpora)
            )
    return found


def without_answers(of: Judged, ids: Ids, passages: Mapping[str, Passage]) -> Ids:
    """Return the candidates less the gold ones, their near-duplicates, and all that contain an answer."""
    gold = [passages[i].text for i in of.gold]
    return tuple(
        i
        for i in ids
        if i not in of.gold
        and not contains_any(passages[i].text, of.question.answers)
        and not any(near_duplicate(passages[i].text, text) for text in gold)
    )


def _judged(part: Source) -> list[Judged]:
    gold = [(record.question, record.positives or record.near) for record in part.records]
    return [Judged(question, ids, dict.fromkeys(ids, 1)) for question, ids in gold if ids]


def _benchmark(source: SourceConfig, *, unanswerable: bool) -> Benchmark:
    return Benchmark(
        f"fit-{source.name}",
        f"{source.name}, held back",
        source.rows,
        (f"fit-{source.corpus or source.name}".replace("/", "-"),),
        "all-gold@5" if source.name in MULTI_HOP else "R@1",
        source.style,
        unanswerable=unanswerable,
    )


def _recall_at_5(test_set: TestSet, stages: FirstStages, history: HistoryQuery) -> float:
    rankings = [stages[r, history] for r in ("bm25", "hybrid") if (r, history) in stages]
    return fmean(recall_at(ranking[q.question.id], q.gold, 5) for ranking in rankings for q in test_set.questions)
