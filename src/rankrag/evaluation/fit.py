"""`fit`: the contract's threshold, encoder's share, history and k, from held-back training questions.

The questions are those that the blend keeps back (5 % of the training rows, by document); no dev set is read.
Unanswerable ones are SQuAD 2.0's, and the same questions with every passage that may answer them taken away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from rankrag.config import BlendConfig
from rankrag.contract import Contract, HistoryQuery
from rankrag.data.progress import Progress, quiet
from rankrag.data.sets import TestSet, folder_name
from rankrag.errors import ConfigError
from rankrag.evaluation.first_stage import FirstStages, first_stages
from rankrag.evaluation.held_back import Drawn, held_back_sets, without_answers
from rankrag.evaluation.measuring import Settings, final_contexts
from rankrag.evaluation.metrics import recall_at
from rankrag.evaluation.nearness import Cosines, NearnessWork, blended
from rankrag.evaluation.selection import (
    DEPTHS,
    Case,
    DepthTrial,
    Threshold,
    WeightTrial,
    best_depth,
    best_threshold,
    best_weight,
    depth_trial,
    weight_trials,
)
from rankrag.evaluation.settling import SettlingTrial, best_bound, settling_trials
from rankrag.evaluation.work import Judgements, ModelWork, log_odds, model_key
from rankrag.models import LanguageModel
from rankrag.retrieval.encoder import Encoder
from rankrag.retrieval.nearness import Nearness

SOURCES = ("squad", "nq", "hotpotqa", "2wiki", "doc2dial", "msmarco")
UNANSWERABLE = "squad2"


@dataclass(frozen=True, slots=True)
class Values:
    """The fitted values and how they were found: every weight tried, the threshold's shares and their counts.

    `settling` shows what judging fewer passages costs (`rerank.settled`) the top k that is answered from, and
    `settled_from` is the bound of it that loses next to nothing.
    """

    weights: tuple[WeightTrial, ...]
    threshold: Threshold
    answerable: int
    unanswerable: int
    settling: tuple[SettlingTrial, ...]
    settled_from: float | None

    def put_into(self, contract: Contract) -> Contract:
        """Return the contract with these values."""
        return replace(
            contract,
            abstain_below=self.threshold.below,
            similarity_weight=best_weight(self.weights),
            settled_from=self.settled_from,
        )


@dataclass(frozen=True, slots=True)
class FitReport:
    """How the values were found: questions by source, R@5 by history, the values and k.

    A source with 0 questions holds nothing back, because too few documents make it up.
    """

    questions: dict[str, int]
    history_recall: dict[str, float]
    values: Values
    depths: tuple[DepthTrial, ...] = ()

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
    answers: int = 30,
    seed: int = 0,
    progress: Progress = quiet,
) -> tuple[Contract, FitReport]:
    """Return the model's contract with fitted values, and how they were found; save it with `save_contract`.

    Args:
        config: of the blend that the model was trained on; it says what was held back.
        run: run folder; a run that was killed goes on where it stopped.
        model: judges `n` candidates of each question.
        model_name: name or directory of its weights.
        encoder: for hybrid retrieval and for its share in the final order; without one the values are fitted on BM25
            alone, and the order is the model's.
        sources: names of the config's sources to fit on; one with conversations settles the history.
        unanswerable: the source of questions that look answerable; None has made ones only.
        n: candidates of each first stage.
        questions: of one source, at most.
        answers: questions of one source that are also answered, at most, to choose k; 0 leaves k as it is.
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
    history: HistoryQuery = max(_HISTORIES, key=lambda h: recall.get(h, 0.0))

    drawn: dict[str, Drawn] = {}
    for name, test_set in sets.items():
        searched = test_set.benchmark.searched_by(history)
        first = [stages[name][r, searched] for r in ("bm25", "hybrid") if (r, searched) in stages[name]]
        drawn[name] = Drawn(test_set, test_set.sample(questions, seed), first, n)
    base = replace(model.contract, history_query=history) if talks else model.contract

    def folder(name: str) -> Path:
        return run / folder_name(sets[name]) / model_key(model, model_name)

    work = {name: ModelWork(model, of.passages, folder(name), of.title, progress) for name, of in drawn.items()}
    asked = (*sources, *([unanswerable] if unanswerable else []))
    counts = {name: len(drawn[name].questions) if name in drawn else 0 for name in asked}
    judged = {name: work[name].judgements(of.wanted) for name, of in drawn.items()}
    near: dict[str, Cosines] = {name: {} for name in drawn}
    if encoder is not None:
        nearness = Nearness(encoder)
        for name in fitted_on:
            of, place = drawn[name], run / folder_name(sets[name])
            searched = sets[name].benchmark.searched_by(history)
            compared = NearnessWork(nearness, searched, of.passages, place, of.title, progress)
            near[name] = compared.cosines(of.wanted)
    judged_sources = {name: judge_source(of, judged[name], near[name]) for name, of in drawn.items()}
    weights = fit_weights(drawn, judged_sources, fitted_on)
    final = {name: blended(judged[name], near[name], best_weight(weights)) for name in fitted_on}
    depths = _depth_trials(drawn, final, work, fitted_on, answers)
    base = replace(base, k=best_depth(depths) if depths else base.k)
    values = fit_values(judged_sources, weights, fitted_on, base.depth(n))
    return _by(encoder, values.put_into(base)), FitReport(counts, recall, values, depths)


def _by(encoder: Encoder | None, contract: Contract) -> Contract:
    """Return the contract with the name of the encoder that its weights are of."""
    return replace(
        contract, similarity_encoder=encoder.name if encoder is not None and contract.similarity_weight else ""
    )


def fit_weights(
    drawn: Mapping[str, Drawn], found: Mapping[str, JudgedSource], fitted_on: Sequence[str]
) -> tuple[WeightTrial, ...]:
    """Return what each weight of the encoder's cosine gives on these sources."""
    metrics = {name: drawn[name].test_set.benchmark.metric or "R@1" for name in fitted_on}
    return weight_trials({name: found[name].cases for name in fitted_on}, metrics)


def fit_values(
    found: Mapping[str, JudgedSource], weights: tuple[WeightTrial, ...], fitted_on: Sequence[str], k: int
) -> Values:
    """Return threshold and bound (for a top `k`, by the best of these weights) of the score that judged.

    `fitted_on` are the sources of answerable questions.
    """
    answerable = [best for name in fitted_on for best in found[name].answerable]
    unanswerable = [best for of in found.values() for best in of.unanswerable]
    weight = best_weight(weights)
    settling = settling_trials([case.weighted(weight) for name in fitted_on for case in found[name].cases], k)
    return Values(
        weights,
        best_threshold(answerable, unanswerable),
        len(answerable),
        len(unanswerable),
        settling,
        best_bound(settling),
    )


@dataclass(frozen=True, slots=True)
class JudgedSource:
    """A source's questions, and the log-odds of the best passage of each, with and without what answers it."""

    cases: tuple[Case, ...]
    answerable: tuple[float, ...]
    unanswerable: tuple[float, ...]


def judge_source(drawn: Drawn, judged: Judgements, cosines: Cosines) -> JudgedSource:
    """Return what the judgements of a source's candidates say; the last first stage is the one answered from.

    `cosines` is empty where there is no encoder.

    A question is answerable where a gold passage is among the candidates. Less the passages that answer it, it is an
    unanswerable one; a source of unanswerable questions keeps all of them.
    """
    never = drawn.test_set.benchmark.unanswerable
    cases, answerable, unanswerable = [], [], []
    for of in drawn.questions:
        own, name = judged[of.question.id], of.question.id
        odds = log_odds(own)
        cases.append(Case(of.gold, tuple(s[name][: drawn.n] for s in drawn.first), own, cosines.get(name, {})))
        ids = cases[-1].first_stages[-1]
        left = ids if never else without_answers(of, ids, drawn.passages)
        if not never and not set(of.gold).isdisjoint(ids):
            answerable.append(max(odds[i] for i in ids))
        if left:
            unanswerable.append(max(odds[i] for i in left))
    return JudgedSource(tuple(cases), tuple(answerable), tuple(unanswerable))


def _depth_trials(
    drawn: Mapping[str, Drawn],
    judged: Mapping[str, Judgements],
    work: Mapping[str, ModelWork],
    fitted_on: Sequence[str],
    answers: int,
) -> tuple[DepthTrial, ...]:
    """Return what answers from the first k reach; the last first stage is the one that is reranked."""
    asked = {name: [of for of in drawn[name].questions if of.question.answers][:answers] for name in fitted_on}
    right = [of.question.answers for questions in asked.values() for of in questions]
    found = []
    for k in DEPTHS if right else ():
        replies: list[str] = []
        for name, questions in asked.items():
            settings = Settings(n=drawn[name].n, k=k)
            first = drawn[name].first[-1]
            replies += work[name].replies([(of, final_contexts(of, first, judged[name], settings)) for of in questions])
        found.append(depth_trial(k, replies, right))
    return tuple(found)


_HISTORIES: tuple[HistoryQuery, ...] = ("last", "all", "both")


def _recall_at_5(test_set: TestSet, stages: FirstStages, history: HistoryQuery) -> float:
    rankings = [stages[r, history] for r in ("bm25", "hybrid") if (r, history) in stages]
    return fmean(recall_at(ranking[q.question.id], q.gold, 5) for ranking in rankings for q in test_set.questions)
