"""`rankrag fit`: the threshold, encoder weight, history, k and stopping bound of a contract.

They are fitted on the questions that the blend holds out (5 % of the training rows, by document); no dev set is read.
Two kinds of questions are unanswerable: those of sources without a gold passage (SQuAD 2.0), and answerable ones whose
candidates lose every passage that may answer them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from rankrag.config.blend import BlendConfig
from rankrag.contract import Contract, HistoryQuery
from rankrag.data.progress import Progress, quiet
from rankrag.data.sets import TestSet, folder_name
from rankrag.errors import ConfigError
from rankrag.evaluation.first_stage import FirstStage, Rankings
from rankrag.evaluation.metrics import recall_at
from rankrag.evaluation.model_key import model_key
from rankrag.evaluation.work import ModelWork, NearnessWork
from rankrag.fitting.held_back import held_back_sets, without_answers
from rankrag.fitting.selection import (
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
from rankrag.fitting.settling import SettlingTrial, best_bound, settling_trials
from rankrag.models import LanguageModel
from rankrag.retrieval.encoder import Encoder
from rankrag.retrieval.nearness import Nearness
from rankrag.types import Ranking, ScoredPassage

_HISTORIES: tuple[HistoryQuery, ...] = ("last", "all", "both")


@dataclass(frozen=True, slots=True)
class FitSize:
    """How much is asked.

    Attributes:
        n: candidates of each first stage.
        questions: of one source, at most.
        answers: questions of one source that are also answered to choose k, at most; 0 leaves k as it is.
        seed: of the questions drawn.
    """

    n: int = 20
    questions: int = 60
    answers: int = 30
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Values:
    """Every weight and bound that was tried, the threshold, and how many questions of either kind it comes from."""

    weights: tuple[WeightTrial, ...]
    threshold: Threshold
    answerable: int
    unanswerable: int
    settling: tuple[SettlingTrial, ...]
    settled_from: float | None


@dataclass(frozen=True, slots=True)
class FitReport:
    """How the values were found: questions by source, R@5 by history, the values, and answers by k.

    A source with 0 questions holds nothing out, because it has too few documents.
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
    sources: Sequence[str] = (),
    size: FitSize = FitSize(),
    progress: Progress = quiet,
) -> tuple[Contract, FitReport]:
    """Return the model's contract with fitted values, and how they were found; save it with `save_contract`.

    Args:
        config: the blend that the model was trained on; it says what was held out.
        run: run folder; a killed run continues where it stopped.
        model: judges the candidates of each question.
        model_name: name or directory of its weights.
        encoder: for hybrid retrieval and its weight in the final order; without one, BM25 finds the candidates and the
            model alone orders them.
        sources: names of the sources to fit on; by default those that the configuration names as `fit`, else all.
        size: how much is asked.
        progress: hears of what takes long.

    Raises:
        ConfigError: no source holds out a question with a gold passage, or the configuration lacks a source.
    """
    names = tuple(sources or config.fit or (source.name for source in config.sources))
    sets = held_back_sets(config, names)
    answerable = [name for name in sets if not sets[name].benchmark.unanswerable]
    if not answerable:
        raise ConfigError(f"{', '.join(names)}: none holds back a question with a passage; raise held_back")
    stages = {name: _FirstStages(found, run, encoder, progress) for name, found in sets.items()}
    contract, recall = _with_history(model.contract, [(sets[name], stages[name]) for name in answerable])
    asking = _Asking(
        run=run,
        model=model,
        model_name=model_name,
        nearness=None if encoder is None else Nearness(encoder),
        history=contract.history_query,
        size=size,
        progress=progress,
    )
    asked = {name: asking.ask(sets[name], stages[name]) for name in sets}
    contract, values, depths = _with_values(contract, list(asked.values()), encoder, size)
    counts = {name: len(asked[name].cases) if name in asked else 0 for name in names}
    return contract, FitReport(counts, recall, values, depths)


def _with_history(
    contract: Contract, sources: Sequence[tuple[TestSet, _FirstStages]]
) -> tuple[Contract, dict[str, float]]:
    """Return the contract with the history that finds most gold passages, and the mean R@5 of each history.

    Without conversations the contract stays as it is, and nothing was compared.
    """
    talks = [found for found in sources if found[0].benchmark.style == "conversation"]
    if not talks:
        return contract, {}
    recall: dict[str, float] = {}
    for history in _HISTORIES:
        recall[history] = fmean(_recall_at_5(*talk, history) for talk in talks)
    return replace(contract, history_query=max(_HISTORIES, key=lambda history: recall[history])), recall


def _recall_at_5(test_set: TestSet, stages: _FirstStages, history: HistoryQuery) -> float:
    rankings = stages.rankings(history)
    return fmean(recall_at(ranking[q.question.id], q.gold, 5) for ranking in rankings for q in test_set.questions)


class _FirstStages:
    """The first stages of a source: BM25 and, with an encoder, hybrid retrieval."""

    def __init__(self, test_set: TestSet, run: Path, encoder: Encoder | None, progress: Progress) -> None:
        self._stage = FirstStage(test_set, run, lambda _: encoder or Encoder(), progress)
        self._retrievers = ("bm25",) if encoder is None else ("bm25", "hybrid")

    def rankings(self, history: HistoryQuery) -> list[Rankings]:
        """Return what each of them finds for every question."""
        return [self._stage.ids(retriever, history) for retriever in self._retrievers]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A source with its questions as judged, and the journals of the model, which may be asked for answers."""

    test_set: TestSet
    cases: tuple[Case, ...]
    work: ModelWork

    @property
    def answerable(self) -> bool:
        """Whether its gold passages answer its questions."""
        return not self.test_set.benchmark.unanswerable

    def contexts(self, cases: Sequence[Case], contract: Contract, k: int) -> list[tuple[str, ...]]:
        """Return the ids of the passages that each of these questions is answered from."""
        decisions = [case.decision(case.first_stages[-1], contract, k) for case in cases]
        return [tuple(c.passage.id for c in decision.contexts) for decision in decisions]

    def odds_with_gold(self) -> list[float]:
        """Return the best log-odds of each question that has a gold passage among its candidates."""
        ids = [(case, [c.passage.id for c in case.first_stages[-1]]) for case in self.cases]
        found = [(case, own) for case, own in ids if not set(case.question.gold).isdisjoint(own)]
        return [max(case.judged[i].log_odds for i in own) for case, own in found]

    def odds_without_answers(self) -> list[float]:
        """Return the best log-odds of each question among the candidates that do not answer it, if there are any."""
        found = []
        for case in self.cases:
            ids = tuple(c.passage.id for c in case.first_stages[-1])
            left = without_answers(case.question, ids, self.test_set.passages) if self.answerable else ids
            found += [max(case.judged[i].log_odds for i in left)] if left else []
        return found


@dataclass(frozen=True, slots=True)
class _Asking:
    """Everything it takes to ask the model and the encoder about the questions of a source."""

    run: Path
    model: LanguageModel
    model_name: str
    nearness: Nearness | None
    history: HistoryQuery
    size: FitSize
    progress: Progress

    def ask(self, test_set: TestSet, stages: _FirstStages) -> _Asked:
        """Draw questions from a source and judge the candidates of each first stage."""
        n, benchmark = self.size.n, test_set.benchmark
        searched = benchmark.searched_by(self.history)
        rankings = stages.rankings(searched)
        drawn = test_set.sample(self.size.questions, self.size.seed)
        first = {q.question.id: [ranking[q.question.id][:n] for ranking in rankings] for q in drawn}
        wanted = [(q, tuple(dict.fromkeys(i for ids in first[q.question.id] for i in ids))) for q in drawn]
        folder = self.run / folder_name(test_set)
        journals = folder / model_key(self.model, self.model_name)
        work = ModelWork(self.model, test_set.passages, journals, benchmark.title, self.progress)
        judged = work.judgements(wanted)
        cosines: dict[str, dict[str, float]] = {}
        if self.nearness is not None and not benchmark.unanswerable:
            compared = NearnessWork(
                self.nearness, searched, test_set.passages, folder, benchmark.title, progress=self.progress
            )
            cosines = compared.cosines(wanted)
        cases = []
        for question in drawn:
            name = question.question.id
            candidates = tuple(_ranking(ids, test_set) for ids in first[name])
            cases.append(Case(question, candidates, judged[name], cosines.get(name, {})))
        return _Asked(test_set, tuple(cases), work)


def _ranking(ids: Sequence[str], test_set: TestSet) -> Ranking:
    return tuple(ScoredPassage(test_set.passages[i], -float(rank)) for rank, i in enumerate(ids))


def _with_values(
    contract: Contract, sources: Sequence[_Asked], encoder: Encoder | None, size: FitSize
) -> tuple[Contract, Values, tuple[DepthTrial, ...]]:
    """Return the contract with weight, k, bound and threshold; each is chosen with the ones before it."""
    answerable = [source for source in sources if source.answerable]
    cases = [case for source in answerable for case in source.cases]
    weights = weight_trials(
        [(source.cases, source.test_set.benchmark.metric or "R@1") for source in answerable], contract
    )
    contract = replace(contract, similarity_weight=best_weight(weights), similarity_encoder="")
    if encoder is not None and contract.similarity_weight:
        contract = replace(contract, similarity_encoder=encoder.name)
    depths = _depth_trials(answerable, contract, size.answers)
    contract = replace(contract, k=best_depth(depths) if depths else contract.k)
    settling = settling_trials(cases, contract, contract.depth(size.n))
    best = [odds for source in answerable for odds in source.odds_with_gold()]
    without = [odds for source in sources for odds in source.odds_without_answers()]
    threshold, bound = best_threshold(best, without), best_bound(settling)
    contract = replace(contract, abstain_below=threshold.below, settled_from=bound)
    return contract, Values(weights, threshold, len(best), len(without), settling, bound), depths


def _depth_trials(sources: Sequence[_Asked], contract: Contract, answers: int) -> tuple[DepthTrial, ...]:
    """Return how good answers from the first k passages are, for each k that is tried."""
    asked = [(source, [c for c in source.cases if c.question.question.answers][:answers]) for source in sources]
    right = [case.question.question.answers for _, cases in asked for case in cases]
    found = []
    for k in DEPTHS if right else ():
        replies: list[str] = []
        for source, cases in asked:
            contexts = source.contexts(cases, contract, k)
            replies += source.work.replies([(case.question, ids) for case, ids in zip(cases, contexts, strict=True)])
        found.append(depth_trial(k, replies, right))
    return tuple(found)
