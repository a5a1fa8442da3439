"""What `rankrag evaluate` compares."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from rankrag.config.answering import PipelineSettings, RetrieverKind
from rankrag.config.schema import MachineSettings, Schema
from rankrag.contract import HistoryQuery
from rankrag.errors import ConfigError


class SystemConfig(PipelineSettings):
    """One of the systems that an evaluation compares."""

    name: str = Field(min_length=1, description="Its name in the report.")
    model: str = Field(
        "rankrag-mini",
        description="Writes the answers: rankrag-mini, a directory, a hub id or an address; `none` only ranks. By "
        "default the comparison's `model`.",
    )
    ranker: str = Field(
        "model",
        description="`model` is the one that answers (RankRAG); `none` keeps the first stage's order. `model:NAME` is "
        "another language model; `cross-encoder:NAME` and `bi-encoder:NAME` are sentence-transformers models.",
    )
    retriever: Literal[RetrieverKind, "none", "gold", "five"] = Field(
        "hybrid",
        description="The first stage. `none` is closed book; `gold` gives the gold passage, `five` the gold passage "
        "among BM25's four best others.",
    )
    abstain: bool = Field(True, description="Withhold answers below the fitted threshold, as `rankrag ask` does.")
    against: str = Field("", description="Name of the system that it is tested against; by default the first one.")
    setting: Literal["own", "paper-8b", "paper-70b"] = Field(
        "own", description="`paper-8b`, `paper-70b`: the paper's first stage, N, k and order, set by set."
    )
    ranking_pairs: int | None = Field(
        None, ge=0, description="Ranking pairs that the model was trained on, for the paper's figure 4."
    )


class SetConfig(Schema):
    """A set of your own in an evaluation; its files are in the data folder."""

    name: str = Field(min_length=1, description="Its name, and that of its folder in the run.")
    rows: str = Field(description="File of its questions.")
    form: Literal["rankrag", "beir", "flashrag", "dpr", "kilt", "chatrag", "mirage"] = Field(
        "rankrag", description="Form of the questions; `rankrag` is docs/data.md."
    )
    corpora: tuple[str, ...] = Field((), description="Files or folders of its passages; none if rows bring theirs.")
    companion: str = Field("", description="BEIR's table of judgements (qrels/NAME.tsv), ChatRAG's documents.")
    subset: str = Field("", description="The part to use of a file that holds several, such as MIRAGE's.")
    style: Literal["short", "span", "long", "short_or_long", "claim", "choice", "conversation"] | None = Field(
        "short", description="Kind of answer; null if nothing is answered, as in BEIR."
    )
    metric: (
        Literal["R@1", "R@5", "R@20", "all-gold@5", "hit@1", "RR", "NDCG@10", "answer-recall@5", "answer-recall@20"]
        | None
    ) = Field("answer-recall@5", description="Metric of its ranking; null if the gold passages are unknown.")
    answer_metrics: tuple[
        Literal["EM", "F1", "Acc", "ChatRAG F1", "FEVER accuracy", "MIRAGE accuracy", "MIRAGE strict"], ...
    ] = Field(("EM", "F1", "Acc"), description="Metrics of its answers.")


NamedSet = Annotated[
    Annotated[str, Tag("name")] | Annotated[SetConfig, Tag("own")],
    Discriminator(lambda value: "name" if isinstance(value, str) else "own"),
]


class ComparisonConfig(MachineSettings):
    """What `rankrag evaluate` measures."""

    data: str = Field("${RANKRAG_DATA}", description="Folder of the data sets; environment variables are filled in.")
    out: str = Field("runs/results", description="Run folder; what it holds is not done again.")
    sets: tuple[NamedSet, ...] = Field(
        (), description="Names of sets, or sets of your own (table below); by default all that are in `data`."
    )
    sample: int | None = Field(
        None, ge=0, description="Questions per set, 0 for all; by default the set's own number for a CPU."
    )
    seed: int = Field(0, description="Seed of the sample.")
    history_query: HistoryQuery | None = Field(
        None, description="Turns of conversations to search for, in all systems; by default each contract's."
    )
    encoder: str | None = Field(
        None, description="Encoder of systems that search by vectors and name none; by default all-MiniLM-L6-v2."
    )
    systems: tuple[SystemConfig, ...] = Field(
        (), description="What is compared; the others are tested against the first one; by default built-in systems."
    )
    model: str = Field(
        "rankrag-mini",
        description="Model of the systems that name none, and of the built-in ones; `none` measures first stages only.",
    )
    retrievers: tuple[RetrieverKind, ...] = Field(
        (), description="First stages of the built-in systems; by default all three."
    )
    n: int = Field(20, ge=1, description="Passages that the built-in systems retrieve and rerank.")
    k: int | None = Field(
        None, ge=1, description="Passages that the built-in systems answer from; by default the contract's."
    )

    @model_validator(mode="before")
    @classmethod
    def _of_systems(cls, given: Any) -> Any:
        """Give the model to systems that name none; refuse what only the built-in systems would hear."""
        if not isinstance(given, dict) or not isinstance(given.get("systems"), list | tuple) or not given["systems"]:
            return given
        unused = [name for name in ("n", "k", "retrievers") if given.get(name) not in (None, [], cls._usual(name))]
        if unused:
            raise ConfigError(
                f"{', '.join(unused)}: only the built-in systems take it, and `systems` lists others; give it in each"
            )
        named = {"model": given["model"]} if given.get("model") else {}
        return given | {"systems": [named | one if isinstance(one, dict) else one for one in given["systems"]]}

    @classmethod
    def _usual(cls, name: str) -> object:
        return cls.model_fields[name].default
