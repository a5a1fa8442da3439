"""How questions are answered: one set of settings for the command line, for Python and for an evaluation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from rankrag.config.schema import MachineSettings, Schema, StateCache
from rankrag.contract import HistoryQuery, ScoreType
from rankrag.errors import ConfigError

RetrieverKind = Literal["bm25", "dense", "hybrid"]
"""First stages that can be named; `opening.open_retriever` opens them."""


class PipelineSettings(Schema):
    """How a question becomes an answer."""

    model: str = Field(
        default="rankrag-mini",
        description="rankrag-mini, rankrag-small, rankrag-base, auto (the best of them for this machine), a model "
        "directory, a Hugging Face id, or the address of a server, such as "
        "http://HOST:PORT/v1?model=NAME#DIRECTORY (docs/backends.md).",
    )
    encoder: str | None = Field(
        default=None,
        description="Encoder of the index: a sentence-transformers directory, or dragon-plus, dragon-multiturn, "
        "dpr-nq, contriever-msmarco or medcpt from the hub; by default all-MiniLM-L6-v2.",
    )
    history_query: HistoryQuery | None = Field(
        default=None,
        description="Turns of a conversation to search for; `speakers` adds who said them (dragon-multiturn). By "
        "default the contract's, or the last if there is no model.",
    )
    rounds: Literal[1, 2, "auto"] = Field(
        default=1,
        description="Searches for a question: 2 also searches for the names in what the first one found; `auto` does "
        "so if that leaves the question open (docs/retrieval.md).",
    )
    n: int = Field(default=20, ge=1, description="Passages to retrieve and rerank (paper: 100 at 8B, 30 at 70B).")
    k: int | None = Field(
        default=None, ge=1, description="Passages to answer from (paper: 5), at most `n`; by default the contract's."
    )
    settled_from: float | Literal["fitted"] | None = Field(
        default="fitted",
        description="Stop judging once a passage reaches this log-odds; `fitted` takes the contract's, if there is one "
        "for this `k`. `null` judges all `n`, as lists are by default.",
    )
    abstain_below: float | Literal["never"] | None = Field(
        default=None,
        description="Withhold the answer if no passage reaches this log-odds; `never` answers always. By default the "
        "contract's. `rankrag fit --from-index` fits it to your documents.",
    )
    similarity: bool = Field(
        default=True, description="Whether the encoder's cosine counts in the final order; in the paper it does not."
    )


class AskConfig(PipelineSettings, MachineSettings):
    """Settings of `rankrag.load`, and of `rankrag ask`, `chat` and `rerank`."""

    retriever: RetrieverKind = Field(default="hybrid", description="The first stage.")
    rerank: bool = Field(default=True, description="Whether the model reranks; `false` keeps the retriever's order.")
    score: ScoreType | None = Field(
        default=None,
        description="The P(True) that is shown: over the vocabulary, or against False. The order is that of the "
        "log-odds. By default the contract's.",
    )
    state_cache: StateCache = Field(
        default="index",
        description="Where passage states are kept between questions: in the `index`, if it is a folder that can be "
        "written; memory, off, or a folder.",
    )
    short_writing: bool = Field(
        default=True,
        description="Whether replies are written with weights of 4 and 8 bits, on CPUs where that is faster; scores do "
        "not change (docs/performance.md).",
    )

    @model_validator(mode="after")
    def _check(self) -> AskConfig:
        if self.k is not None and self.k > self.n:
            raise ConfigError(f"n={self.n}, k={self.k}: k must be at most n")
        if not self.rerank and self.settled_from not in (None, "fitted"):
            raise ConfigError("rerank=false and settled_from exclude each other: nothing is judged; choose one")
        return self
