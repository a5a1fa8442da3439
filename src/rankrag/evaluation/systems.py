"""What is evaluated: a system retrieves, ranks and answers in its own way, on the same questions as the others."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, Literal, cast, get_args

from pydantic import model_validator

from rankrag.config.evaluation import SystemConfig
from rankrag.contract import Contract, HistoryQuery
from rankrag.data.sets import PaperSetting
from rankrag.errors import ConfigError
from rankrag.rerank import NEVER, bound_of

RankerKind = Literal["none", "model", "cross-encoder", "bi-encoder"]

Role = Literal["compared", "first stage", "order", "reading", "stopping"]
"""Which part of the report shows a system; those that are `compared` are in all parts.

"first stage": a retriever alone, on all questions of a set. "order": ranks, and answers nothing. "reading": reads the
gold passage, alone or among others. "stopping": stops judging early.
"""

NOTHING = "none"

VECTORS = ("dense", "hybrid")
"""Retrievers that need an encoder."""

GIVEN = ("gold", "five")
"""In place of a retriever: the gold passage alone, or among BM25's four best others."""

ENCODERS = {"Dragon": "dragon-plus", "Dragon-multiturn": "dragon-multiturn", "MedCPT": "medcpt"}
"""The paper's first stages, by its name for them: the encoder that searches alone."""

N_OF_70B = 30
"""Passages that the paper reranks at 70B, on every set (section 5.1)."""


class System(SystemConfig):
    """A system as configured, with the rules that its values must meet. By default it is what `rankrag ask` does."""

    role: Role = "compared"

    @model_validator(mode="after")
    def _check(self) -> System:
        where = f"system {self.name!r}"
        if self.setting != "own" and any(getattr(self, key) != _default(key) for key in _SET_BY_PAPER):
            raise ConfigError(f"{where}: setting: {self.setting} sets n, k, retriever, encoder and similarity itself")
        if self.n < 1 or not 1 <= self.depth() <= self.n:
            raise ConfigError(f"{where}: n={self.n}, k={self.k}: n must be at least 1, k between 1 and n")
        kind, name = self.ranked_by
        if kind != NOTHING and not name:
            what = "model: none, so its ranker needs a name" if self.model == NOTHING else "its ranker has no name"
            raise ConfigError(f"{where}: {what}; write ranker: model:NAME, or ranker: none")
        if self.closed_book and (kind != NOTHING or self.model == NOTHING):
            raise ConfigError(f"{where}: closed book (retriever: none) needs a model and ranker: none")
        if self.encoder is not None and self.retriever not in VECTORS:
            raise ConfigError(f"{where}: encoder: {self.retriever} needs none; choose dense or hybrid")
        if self.rounds != 1 and self.retriever in (NOTHING, *GIVEN):
            raise ConfigError(f"{where}: rounds: retriever {self.retriever} searches for nothing; choose another one")
        if self.settled_from not in (None, "fitted") and kind != "model":
            raise ConfigError(f"{where}: settled_from: only a language model can stop early; choose ranker: model")
        return self

    @property
    def ranked_by(self) -> tuple[RankerKind, str]:
        """The kind of ranker and the name of what ranks; "" for "none"."""
        kind, colon, name = self.ranker.partition(":")
        if self.ranker == "model" and self.model != NOTHING:
            return "model", self.model
        if kind not in get_args(RankerKind) or (kind == NOTHING and colon):
            raise ConfigError(
                f"system {self.name!r}: ranker {self.ranker!r} is not known; "
                "choose model, none, model:NAME, cross-encoder:NAME or bi-encoder:NAME"
            )
        return cast(RankerKind, kind), name

    @property
    def ranks(self) -> bool:
        """Whether it changes the first stage's order."""
        return self.ranked_by[0] != NOTHING

    @property
    def closed_book(self) -> bool:
        """Whether it answers without any passages."""
        return self.retriever == NOTHING

    @property
    def cites(self) -> bool:
        """Whether its answers are given citations, which costs judgements of its own."""
        return self.model != NOTHING and not self.closed_book and self.role in ("compared", "reading")

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the language models that it needs, the one that ranks first."""
        kind, name = self.ranked_by
        wanted = (name if kind == "model" else NOTHING, self.model)
        return tuple(dict.fromkeys(name for name in wanted if name != NOTHING))

    @property
    def first_stage(self) -> str:
        """The first stage in words: the retriever, and the encoder if one is named."""
        return f"{self.retriever} by {self.encoder}" if self.encoder else self.retriever

    @property
    def folder(self) -> str:
        """Name of its folder in a set's folder of a run."""
        plain = re.sub(r"[^\w.-]+", "-", self.name).strip("-.")
        digest = hashlib.sha256(self.name.encode()).hexdigest()[:6]
        return f"system-{plain}" if plain == self.name else f"system-{plain}-{digest}"

    def depth(self, contract: Contract | None = None) -> int:
        """Return k: how many passages are answered from; the contract says where the system does not."""
        return min(self.n, (contract or Contract()).k) if self.k is None else self.k

    def on(self, paper: PaperSetting | None) -> System:
        """Return the system as it is on a set that the paper measures like this; `ConfigError` for other sets."""
        if self.setting == "own":
            return self
        if paper is None:
            raise ConfigError(
                f"system {self.name!r}: setting: {self.setting} works only for the sets of the paper "
                "(`rankrag evaluate --list` shows which)"
            )
        n = paper.n if self.setting == "paper-8b" else N_OF_70B
        encoder = ENCODERS[paper.retriever]
        stage = {"retriever": "dense", "encoder": encoder, "n": n, "k": paper.k}
        return self.changed(**stage, similarity=False, abstain=False, settled_from=None, setting="own")

    def with_contract(self, contract: Contract | None, history: HistoryQuery | None) -> System:
        """Return the system with k, the searched turns and the bound filled in, from the run or the contract."""
        if self.setting != "own":
            return self.changed(history_query=self.history_query or history or "last", settled_from=None)
        turns = self.history_query or history or (contract or Contract()).history_query
        k, bound = self.depth(contract), NEVER
        if self.ranked_by[0] == "model":
            bound = bound_of(contract or Contract(), self.settled_from, k)
        return self.changed(k=k, history_query=turns, settled_from=None if bound == NEVER else bound)

    def changed(self, **values: Any) -> System:
        """Return the system with other values."""
        return System(**(self.model_dump() | values))


_SET_BY_PAPER = ("n", "k", "retriever", "encoder", "similarity")


def _default(key: str) -> Any:
    return System.model_fields[key].default


def check_systems(systems: Sequence[System]) -> None:
    """Raise `ConfigError` if two systems have one name, if one is tested against a missing one, or without any."""
    names = [system.name for system in systems]
    if not names:
        raise ConfigError("systems: none given; name one")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"systems: {', '.join(twice)}: given twice")
    for system in systems:
        if system.against and system.against not in names:
            raise ConfigError(f"system {system.name!r}: against: no system is called {system.against!r}")
