"""What `rankrag blend` builds: sources, their weights, and what must not be in the blend."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rankrag.config.answering import RetrieverKind
from rankrag.config.schema import Schema
from rankrag.types import DataKind, Style

Reader = Literal[
    "rankrag",
    "chatqa",
    "chatqa_ropes",
    "dolly",
    "dpr",
    "eli5",
    "flan",
    "msmarco",
    "oasst",
    "reading",
    "self_instruct",
    "soda",
    "squad",
    "unnatural_instructions",
]


class HubConfig(Schema):
    """A data set on the Hugging Face hub, read as a stream."""

    name: str = Field(description="Its id on the hub.")
    subset: str | None = Field(default=None, description="Its configuration, if it has several.")
    files: str | None = Field(
        default=None,
        description="Files of its repository (a name or a pattern) to read instead of a subset, parquet or JSON; for "
        "repositories with a loading script.",
    )
    split: str = Field("train", description="Only train splits may be trained on.")
    revision: str | None = Field(default=None, description="Commit or tag; by default the newest, which may change.")


class SourceConfig(Schema):
    """One question set and how examples are made from it."""

    name: str = Field(description="Name of the source in weights, manifests and losses.")
    rows: str = Field("", description="File of rows, relative to `data`; formats in docs/data.md.")
    hub: HubConfig | None = Field(None, description="A data set on a hub, instead of `rows`.")
    reader: Reader = Field("rankrag", description="Form of the rows: ours, or that of a public data set.")
    corpus: str | None = Field(None, description="Passages that the rows name by id; none if rows carry their own.")
    where: dict[str, tuple[str, ...]] = Field({}, description="Only rows whose field has one of these values.")
    replies: int | None = Field(
        None,
        ge=1,
        description="Answers in whole sentences: this many questions are answered by the blend's `teacher` from their "
        "gold passages, and kept if the reply agrees with the answer; the other rows are left out.",
    )
    limit: int | None = Field(None, ge=1, description="Rows to keep, drawn at random from all; bounds memory.")
    kinds: tuple[DataKind, ...] = Field(
        (DataKind.CONTEXT_RANKING, DataKind.CONTEXT_QA, DataKind.RETRIEVAL_QA, DataKind.RETRIEVAL_RANKING),
        min_length=1,
        description="Kinds of examples to make; `sft`, for rows of messages, must be the only one.",
    )
    style: Style = Field("short", description="Kind of answer, which picks the wording of the prompt.")
    licence: str = Field("", description="Licence of the source, copied into the manifest; rows may name their own.")
    optional: bool = Field(False, description="Whether the blend is built without it if its data is absent.")
    max_context_words: int | None = Field(None, ge=1, description="Rows with a longer document are left out.")
    chunk_words: int | None = Field(
        None, ge=20, description="Cut each row's document into chunks, labelled against its answer (paper: 150)."
    )
    relevant_above: float = Field(0.5, ge=0, le=1, description="4-gram recall above which a chunk is relevant.")
    irrelevant_below: float = Field(0.1, ge=0, le=1, description="4-gram recall below which a chunk is not relevant.")
    passages: int | None = Field(None, ge=0, description="Passages with a positive question to use; by default all.")
    ranking_by: Literal["passage", "question"] = Field(
        "passage",
        description="Ranking examples passage by passage, which one sequence then shares, or question by question.",
    )
    negative_passages: int = Field(
        0, ge=0, description="By passage: passages without a positive question that get ranking examples."
    )
    questions: int = Field(3, ge=1, description="By passage: its positive questions, at most.")
    hard: float = Field(1.0, ge=0, description="BM25 hard negatives for each positive; the paper has no other kind.")
    random: float = Field(0.7, ge=0, description="Random negatives for each positive; the paper has none.")
    qa: int = Field(2, ge=0, description="Questions answered from their gold passage alone, for each passage.")
    unanswerable: float = Field(0.35, ge=0, le=1, description="Share of passages with one question they do not answer.")
    lists: int | None = Field(None, ge=0, description="Lists of passages for the two retrieval kinds; by default all.")
    list_questions: int = Field(4, ge=1, description="Questions asked about one list, at most.")
    max_answer_words: int | None = Field(
        None, ge=1, description="Longer targets are left out; by default 40 words for QA, no bound for `sft`."
    )


class EvaluationConfig(Schema):
    """A set that the trained model will be measured on: nothing of it may be in the blend."""

    rows: str = Field(description="File of rows, relative to `data`, in our form or as the paper's sets are published.")
    corpus: str | None = Field(None, description="Passages that the rows name by id.")
    optional: bool = Field(False, description="Whether the blend is built if the set is absent; the manifest says so.")
    questions: bool = Field(
        True, description="Whether a question alone gives it away; false for stock phrases about a passage."
    )


class WritingConfig(Schema):
    """Questions that a language model writes from the passages of an index: they become the source `own`."""

    index: str = Field(description="Folder or address of the index.")
    model: str = Field("rankrag-mini-base", description="Writes the questions.")
    reader: str | None = Field(
        None, description="Answers them; by default `model`, or rankrag-mini if rankrag-mini-base writes."
    )
    questions: int = Field(2, ge=1, description="Questions about one passage, at most; each from another sentence.")
    passages: int | None = Field(None, ge=1, description="Passages to ask about, drawn at random; by default all.")
    min_words: int = Field(25, ge=1, description="Passages with fewer words are not asked about.")
    retriever: RetrieverKind = Field("hybrid", description="Searches the index.")
    found_within: int = Field(5, ge=1, description="A question must find its passage among this many.")
    max_answer_words: int = Field(12, ge=1, description="Questions with a longer answer are left out.")
    licence: str = Field("own documents", description="Licence of the documents, copied into the manifest.")


class BlendConfig(Schema):
    """What `rankrag blend` builds."""

    data: str = Field("${RANKRAG_DATA}", description="Folder of the rows; environment variables are filled in.")
    seed: int = Field(0, description="The same seed gives a byte-identical blend.")
    held_back: float = Field(0.05, ge=0, lt=1, description="Share of questions held out for fitting thresholds.")
    mining_depth: int = Field(12, ge=0, description="BM25 passages per question that may serve as hard negatives.")
    list_size: int = Field(5, ge=2, description="Passages in one list (paper: five).")
    examples: int | None = Field(None, ge=1, description="Examples in all, shared out by `weights`.")
    weights: dict[str, float] = Field(
        {}, description="Weight of a source, or of one of its kinds as `source/kind`; by default all examples are used."
    )
    counts: dict[str, int] = Field({}, description="Examples of a source or `source/kind`; goes before the weights.")
    licence: Literal["any", "commercial"] = Field(
        "any", description="`commercial` leaves out sources and rows whose licence does not allow commercial use."
    )
    research: bool = Field(
        False, description="Whether the blend is for research only; without it such sources and rows are refused."
    )
    evaluation: tuple[EvaluationConfig, ...] = Field((), description="Sets of which nothing may be in the blend.")
    max_overlap: float = Field(0.5, ge=0, le=1, description="Share of 13-grams a passage may share with a set's.")
    sources: tuple[SourceConfig, ...] = Field((), description="The question sets.")
    fit: tuple[str, ...] = Field((), description="Sources that `rankrag fit` fits on; by default all with passages.")
    teacher: str | None = Field(None, description="Model that writes the `replies` of sources.")
    writing: WritingConfig | None = Field(None, description="Own documents, as one more source; see below.")
