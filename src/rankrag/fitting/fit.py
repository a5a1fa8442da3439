"""`rankrag fit`: the threshold, encoder weight, history, k and stopping bound of a contract.

They are fitted on the questions that the blend holds out (5 % of the training rows, by document); no dev set is read.
Two kinds of questions are unanswerable: those of sources without a gold passage (SQuAD 2.0), and answerable ones whose
candidates lose every passage that may answer them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean

from rankrag.blend.mixture import EXAMPLES_FILE
from rankrag.config.blend import BlendConfig
from rankrag.contract import Contract, HistoryQuery
from rankrag.data.examples import read_examples
from rankrag.data.progress import Progress, quiet
from rankrag.data.sets import TestSet
from rankrag.errors import ConfigError
from rankrag.evaluation.first_stage import FirstStage, Rankings
from rankrag.evaluation.metrics import recall_at
from rankrag.evaluation.work import ModelWork, NearnessWork
from rankrag.fitting import selection
from rankrag.fitting.held_back import held_back_sets, without_answers
from rankrag.fitting.selection import Case
from rankrag.fitting.settling import SettlingTrial, best_bound, settling_trials
from rankrag.models import LanguageModel
from rankrag.models.model_key import model_key
from rankrag.retrieval.encoder import Encoder
from rankrag.retrieval.nearness import Nearness
from rankrag.types import Ranking, ScoredPassage

_HISTORIES: tuple[HistoryQuery, ...] = ("last", "all", "both")


@dataclass(frozen=True, slots=True)
class FitSize:
    """Candidates of each first stage, questions per source, those also answered to choose k, and the seed of the draw.

    With no `answers`, k stays as it is.
    """

    n: int = 20
    questions: int = 60
    answers: int = 30
    seed: int = 0


@dataclass(frozen=True, slots=True)
class FitReport:
    """How the values were found: everything that was tried, and the number of questions it comes from.

    `questions` counts them by source: 0 means that the source holds nothing out, because it has too few documents.
    `history_recall` is R@5 by history; it is empty without conversations.
    """

    questions: dict[str, int]
    history_recall: dict[str, float]
    weights: tuple[selection.WeightTrial, ...]
    depths: tuple[selection.DepthTrial, ...]
    settling: tuple[SettlingTrial, ...]
    threshold: selection.Threshold
    answerable: int
    unanswerable: int


def fit(
    config: BlendConfig,
    run: Path,
    model: LanguageModel,
    *,
    model_name: str,
    encoder: Encoder | None = None,
    sources: Mapping[str, float] | None = None,
    blends: Sequence[Path] = (),
    size: FitSize = FitSize(),
    progress: Progress = quiet,
) -> tuple[Contract, FitReport]:
    """Return the model's contract with fitted values, and how they were found; save it with `save_contract`.

    Args:
        config: the blend that the model was trained on; it says what was held out.
        run: run folder; a killed run continues where it stopped.
        model: judges and answers; `model_name` is the name or directory of its weights.
        encoder: for hybrid retrieval and its weight in the final order; without one, BM25 finds the candidates and the
            model alone orders them.
        sources: how often each question of a source counts, by the source's name; by default every question of the
            sources that the configuration names as `fit`, else of all, counts once.
        blends: folders of the blends that the model was trained on; questions of their examples are left out. Then
            the configuration may hold out more documents than training did, as for a source of few documents.
        size: how much is asked.

    `ConfigError` if no source holds out a question with a gold passage, or if the configuration lacks a source.
    """
    counts = sources or dict.fromkeys(config.fit or (source.name for source in config.sources), 1.0)
    names = tuple(counts)
    if any(count <= 0 for count in counts.values()):
        raise ConfigError(f"weights of sources must be above 0 (found: {counts}); leave out what shall not count")
    seen = {example.question.text for folder in blends for example in read_examples(folder / EXAMPLES_FILE)}
    sets = held_back_sets(config, names, seen)
    if all(test_set.benchmark.unanswerable for test_set in sets.values()):
        raise ConfigError(f"{', '.join(names)}: none holds back a question with a passage; raise held_back")

    key = model_key(model, model_name)
    found = {name: _Source(test_set, run, model, key, encoder, progress) for name, test_set in sets.items()}
    recall = _history_recall([source for source in found.values() if source.answerable])
    contract = model.contract
    if recall:
        contract = replace(contract, history_query=max(_HISTORIES, key=lambda history: recall[history]))
    for name, source in found.items():
        source.judge(contract.history_query, size, counts[name])
    asked = {name: len(found[name].cases) if name in found else 0 for name in names}
    return _fitted(contract, list(found.values()), encoder, size, partial(FitReport, asked, recall))


class _Source:
    """A source of held-out questions: what was retrieved, judged and answered is in journals that survive a kill."""

    def __init__(
        self, test_set: TestSet, run: Path, model: LanguageModel, key: str, encoder: Encoder | None, progress: Progress
    ) -> None:
        self.benchmark, self._test_set, self._encoder = test_set.benchmark, test_set, encoder
        self._stage = FirstStage(test_set, run, lambda _: encoder or Encoder(), progress)
        self._retrievers = ("bm25",) if encoder is None else ("bm25", "hybrid")
        self.work = ModelWork(model, self._stage.place.below(key))
        self.cases: tuple[Case, ...] = ()

    @property
    def answerable(self) -> bool:
        """Whether its gold passages answer its questions."""
        return not self.benchmark.unanswerable

    def recall_at_5(self, history: HistoryQuery) -> float:
        """Return the mean R@5 of the first stages over all questions, searched by these turns."""
        rankings, asked = self._rankings(history), self._test_set.questions
        return fmean(recall_at(ranking[q.question.id], q.gold, 5) for ranking in rankings for q in asked)

    def judge(self, history: HistoryQuery, size: FitSize, counts: float) -> None:
        """Draw the questions and judge their candidates; `cases` holds them afterwards."""
        rankings = self._rankings(history)
        drawn = self._test_set.sample(size.questions, size.seed)
        first = {q.question.id: [ranking[q.question.id][: size.n] for ranking in rankings] for q in drawn}
        wanted = [(q, tuple(dict.fromkeys(i for ids in first[q.question.id] for i in ids))) for q in drawn]
        judged = self.work.judging.judgements(wanted)
        cosines: dict[str, dict[str, float]] = {}
        if self._encoder is not None and self.answerable:
            nearness = Nearness(self._encoder, known=partial(self._stage.vectors_of, self._encoder))
            compared = NearnessWork(nearness, self.benchmark.searched_by(history), self._stage.place)
            cosines = compared.cosines(wanted)
        self.cases = tuple(
            Case(q, tuple(map(self._candidates, first[name])), judged[name], cosines.get(name, {}), counts)
            for q in drawn
            for name in [q.question.id]
        )

    def without_answers(self, case: Case) -> tuple[str, ...]:
        """Return the candidates that do not answer a question; all of them if its source is unanswerable."""
        return without_answers(case.question, case.ids, self._test_set.passages) if self.answerable else case.ids

    def replies(self, cases: Sequence[Case], contract: Contract, k: int) -> list[str]:
        """Return the answers of the pipeline with this contract from the first `k` passages."""
        decisions = [case.decision(case.first_stages[-1], contract, k) for case in cases]
        contexts = [tuple(c.passage.id for c in decision.contexts) for decision in decisions]
        return self.work.replies([(case.question, ids) for case, ids in zip(cases, contexts, strict=True)])

    def _rankings(self, history: HistoryQuery) -> list[Rankings]:
        return [self._stage.ids(retriever, history) for retriever in self._retrievers]

    def _candidates(self, ids: Sequence[str]) -> Ranking:
        return tuple(ScoredPassage(self._test_set.passages[i], -float(rank)) for rank, i in enumerate(ids))


def _history_recall(sources: Sequence[_Source]) -> dict[str, float]:
    """Return the mean R@5 of each history over the sources with conversations; empty without any."""
    talks = [source for source in sources if source.benchmark.style == "conversation"]
    return {history: fmean(source.recall_at_5(history) for source in talks) for history in _HISTORIES if talks}


def _fitted(
    contract: Contract,
    sources: Sequence[_Source],
    encoder: Encoder | None,
    size: FitSize,
    report: Callable[..., FitReport],
) -> tuple[Contract, FitReport]:
    """Return the contract with weight, k, bound and threshold; each is chosen with the ones before it."""
    answerable = [source for source in sources if source.answerable]
    cases = [case for source in answerable for case in source.cases]
    weights = selection.weight_trials([source.cases for source in answerable])
    weight = selection.best_weight(weights)
    name = encoder.name if encoder is not None and weight else ""
    contract = replace(contract, similarity_weight=weight, similarity_encoder=name)
    depths = _depth_trials(answerable, contract, size.answers)
    contract = replace(contract, k=selection.best_depth(depths) if depths else contract.k)
    settling = settling_trials(cases, contract, min(size.n, contract.k))
    found = [case for case in cases if not set(case.question.gold).isdisjoint(case.ids)]
    best = [(case.best(case.ids), case.counts) for case in found]
    without = [
        (case.best(ids), case.counts)
        for source in sources
        for case in source.cases
        if (ids := source.without_answers(case))
    ]
    threshold = selection.best_threshold(best, without)
    contract = replace(contract, abstain_below=threshold.below, settled_from=best_bound(settling))
    return contract, report(weights, depths, settling, threshold, len(best), len(without))


def _depth_trials(sources: Sequence[_Source], contract: Contract, answers: int) -> tuple[selection.DepthTrial, ...]:
    """Return how good answers from the first k passages are, for each k that is tried."""
    asked = [(source, [c for c in source.cases if c.question.question.answers][:answers]) for source in sources]
    everything = [case for _, cases in asked for case in cases]
    return tuple(
        selection.depth_trial(
            k, [reply for source, cases in asked for reply in source.replies(cases, contract, k)], everything
        )
        for k in selection.DEPTHS
        if everything
    )
