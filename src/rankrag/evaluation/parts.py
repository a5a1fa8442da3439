"""What the systems of a run are made of: models, rankers and encoders, opened once, with their journals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rankrag.contract import Contract
from rankrag.evaluation.first_stage import OpenEncoder
from rankrag.evaluation.rankers import open_ranker
from rankrag.evaluation.steps import PreparedSet, SystemParts
from rankrag.evaluation.systems import NOTHING, RankerKind, System
from rankrag.evaluation.work import JudgeFunction, JudgingWork, ModelWork, NearnessWork
from rankrag.models import LanguageModel
from rankrag.models.model_key import model_key, ranker_key
from rankrag.opening import Say, open_nearness
from rankrag.retrieval.encoder import Encoder
from rankrag.retrieval.nearness import Nearness

OpenModel = Callable[[str], tuple[LanguageModel, str]]
"""Returns a model by name, with the directory of its weights (or the name, if it has none)."""

OpenRanker = Callable[[RankerKind, str], JudgeFunction]


@dataclass(frozen=True)
class Openers:
    """How the parts of systems are opened by name."""

    model: OpenModel
    encoder: OpenEncoder = Encoder
    ranker: OpenRanker = open_ranker


class OpenParts:
    """Models, rankers and journals that are open; those of one model and set are opened once."""

    def __init__(self, openers: Openers, say: Say) -> None:
        self._openers, self._say = openers, say
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
            judging = JudgingWork(judge, of_set.first_stage.place.below(key))
            return SystemParts(judging, answering, Contract(), None, kind == "cross-encoder", key)
        contract = self._model(ranker)[0].contract
        return SystemParts(
            self._of_model(ranker, of_set).judging,
            answering,
            contract if system.abstain else replace(contract, abstain_below=None),
            self._nearness(contract, system, of_set) if system.similarity else None,
            ranked_by="" if ranker == system.model else self.keys[ranker],
        )

    def _model(self, name: str) -> tuple[LanguageModel, str]:
        if name not in self._models:
            self._models[name] = self._openers.model(name)
            self.keys[name] = model_key(*self._models[name])
        return self._models[name]

    def _of_model(self, name: str, of_set: PreparedSet) -> ModelWork:
        model, place = self._model(name)[0], of_set.first_stage.place
        key = (place.folder, name)
        if key not in self._work:
            self._work[key] = ModelWork(model, place.below(self.keys[name]))
        return self._work[key]

    def _nearness(self, contract: Contract, system: System, of_set: PreparedSet) -> NearnessWork | None:
        """Return what an encoder adds to a language model's order; the system's own encoder comes first."""
        if not contract.similarity_weight:
            return None
        opened = open_nearness(contract, self._openers.encoder(system.encoder), self._say)
        if opened is None:
            return None
        nearness = Nearness(opened.encoder, opened.weight, partial(of_set.first_stage.vectors_of, opened.encoder))
        searched = of_set.test_set.benchmark.searched_by(system.history_query or "last")
        return NearnessWork(nearness, searched, of_set.first_stage.place)
