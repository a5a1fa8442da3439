"""The schemas of every YAML file. A file holds only what differs from the defaults here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

from rankrag.types import DataKind, Style


class Schema(BaseModel):
    """Common rules: unknown keys fail, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class HubConfig(Schema):
    """A data set of the Hugging Face hub, read as a stream."""

    name: str = Field(description="Its id on the hub.")
    subset: str | None = Field(default=None, description="Its configuration, where it has several.")
    files: str | None = Field(
        default=None,
        description="Files of its repository (a name or a pattern) that are read instead of a subset; parquet or JSON, "
        "where it also holds a loading script.",
    )
    split: str = Field("train", description="Only train splits may be trained on.")
    revision: str | None = Field(default=None, description="Commit or tag; without one the newest, which may change.")


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
    "self_instruct",
    "soda",
    "squad",
    "unnatural_instructions",
]


class SourceConfig(Schema):
    """One question set and how examples are made from it."""

    name: str = Field(description="Name of the source in weights, manifests and losses.")
    rows: str = Field("", description="File of rows, relative to `data`; formats in docs/data.md.")
    hub: HubConfig | None = Field(None, description="A data set of a hub, instead of `rows`.")
    reader: Reader = Field("rankrag", description="Form of the rows: ours, or that of a public data set.")
    corpus: str | None = Field(None, description="Passages that the rows name by id; none where rows carry their own.")
    where: dict[str, tuple[str, ...]] = Field({}, description="Only rows whose field has one of these values.")
    limit: int | None = Field(None, ge=1, description="Rows that are kept, drawn at random from all; bounds memory.")
    kinds: tuple[DataKind, ...] = Field(
        (DataKind.CONTEXT_RANKING, DataKind.CONTEXT_QA, DataKind.RETRIEVAL_QA, DataKind.RETRIEVAL_RANKING),
        min_length=1,
        description="Kinds of examples that are made; `sft`, for rows of messages, stands alone.",
    )
    style: Style = Field("short", description="Kind of answer, which picks the wording of the prompt.")
    licence: str = Field("", description="Licence of the source, copied into the manifest; rows may name their own.")
    optional: bool = Field(False, description="Whether the blend is built without it where its data is absent.")
    max_context_words: int | None = Field(None, ge=1, description="Rows with a longer document are left out.")
    chunk_words: int | None = Field(
        None, ge=20, description="Cut each row's document into chunks, labelled against its answer (paper: 150)."
    )
    relevant_above: float = Field(0.5, ge=0, le=1, description="4-gram recall above which a chunk is relevant.")
    irrelevant_below: float = Field(0.1, ge=0, le=1, description="4-gram recall below which a chunk is not relevant.")
    passages: int | None = Field(None, ge=0, description="Passages with a positive question that are used; all.")
    ranking_by: Literal["passage", "question"] = Field(
        "passage",
        description="Ranking examples passage by passage, which one sequence then shares, or question by question, "
        "which a listwise loss compares.",
    )
    negative_passages: int = Field(
        0, ge=0, description="By passage: those without a positive question that get ranking ones."
    )
    questions: int = Field(3, ge=1, description="By passage: its positive questions, at most.")
    hard: float = Field(1.0, ge=0, description="BM25 hard negatives for each positive; the paper has no other kind.")
    random: float = Field(0.7, ge=0, description="Random negatives for each positive; the paper has none.")
    qa: int = Field(2, ge=0, description="Questions answered from their gold passage alone, for each passage.")
    unanswerable: float = Field(0.35, ge=0, le=1, description="Share of passages with one question they do not answer.")
    lists: int | None = Field(None, ge=0, description="Lists of passages for the two retrieval kinds; all there are.")
    list_questions: int = Field(4, ge=1, description="Questions asked of one list, at most.")
    max_answer_words: int | None = Field(
        None, ge=1, description="Longer targets are left out; by default 40 words for QA, no bound for `sft`."
    )


class EvaluationConfig(Schema):
    """A set that the trained model will be measured on: nothing of it may be in the blend."""

    rows: str = Field(description="File of rows, relative to `data`, in our form or as the paper's sets are published.")
    corpus: str | None = Field(None, description="Passages that the rows name by id.")
    optional: bool = Field(False, description="Whether the blend is built where it is absent; the manifest says so.")
    questions: bool = Field(
        True, description="Whether a question alone gives it away; not where they are stock phrases over a passage."
    )


class WritingConfig(Schema):
    """Questions that a language model writes from the passages of an index: they become the source `own`."""

    index: str = Field(description="Folder of the index.")
    model: str = Field("rankrag-mini-base", description="Writes the questions.")
    reader: str | None = Field(
        None, description="Answers them; by default `model`, but rankrag-mini where rankrag-mini-base writes."
    )
    questions: int = Field(2, ge=1, description="Questions of one passage, at most; each from another sentence.")
    passages: int | None = Field(None, ge=1, description="Passages that are asked about, drawn at random; all.")
    min_words: int = Field(25, ge=1, description="Passages with fewer words are not asked about.")
    retriever: Literal["bm25", "dense", "hybrid"] = Field("hybrid", description="Searches the index.")
    found_within: int = Field(5, ge=1, description="A question must find its passage among this many.")
    max_answer_words: int = Field(12, ge=1, description="Questions with a longer answer are left out.")
    licence: str = Field("", description="Licence of the documents, copied into the manifest.")


class BlendConfig(Schema):
    """What `rankrag blend` builds."""

    data: str = Field("${RANKRAG_DATA}", description="Folder of the rows; environment variables are filled in.")
    seed: int = Field(0, description="The same seed gives a byte-identical blend.")
    held_back: float = Field(0.05, ge=0, lt=1, description="Share of questions kept back for fitting thresholds.")
    mining_depth: int = Field(12, ge=0, description="BM25 passages of a question that may serve as hard negatives.")
    list_size: int = Field(5, ge=2, description="Passages of one list (paper: five).")
    examples: int | None = Field(None, ge=1, description="Examples in all, shared out by `weights`.")
    weights: dict[str, float] = Field(
        {}, description="Weight of a source, or of one kind of it as `source/kind`; none: all that the sources give."
    )
    counts: dict[str, int] = Field({}, description="Examples of a source or `source/kind`, ahead of the weights.")
    licence: Literal["any", "commercial"] = Field("any", description="`commercial` leaves out what forbids such use.")
    evaluation: tuple[EvaluationConfig, ...] = Field((), description="Sets that must not be in the blend.")
    remove_contaminated: bool = Field(True, description="Whether what an evaluation set holds is removed.")
    max_overlap: float = Field(0.5, ge=0, le=1, description="Share of 13-grams a passage may share with a set's.")
    tokenizer: str | None = Field(None, description="Counts tokens; by default words are counted, times 1.3.")
    sources: tuple[SourceConfig, ...] = Field((), description="The question sets.")
    fit: tuple[str, ...] = Field((), description="Sources that `rankrag fit` fits on; none: all with passages.")
    writing: WritingConfig | None = Field(None, description="Own documents, as one source more; see below.")


class LoraSettings(Schema):
    """Low-rank adapter. An adapter that is trained on keeps the settings it has."""

    r: int = Field(32, ge=1, description="Rank.")
    alpha: int = Field(64, ge=1, description="Scale; the update is multiplied by alpha / r.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before the adapter.")
    target_modules: tuple[str, ...] = Field((), description="Names of the adapted modules; none: all linear layers.")
    top_layers: int | None = Field(
        None,
        ge=1,
        description="Adapt only this many of the last layers, with no backward pass below them; all.",
    )


class DevSettings(Schema):
    """What is measured while a run goes on. Measuring changes nothing of what is learnt."""

    steps: int = Field(100, ge=1, description="Steps between two measurements; there is one before the first step.")
    examples: str | None = Field(None, description="File of examples as a blend has them, instead of a `share`.")
    share: float = Field(
        0.02, gt=0, lt=1, description="Share of the blend's documents that are not learnt, for their questions."
    )
    ranking: int = Field(48, ge=0, description="Questions whose labelled passages are ranked, at most.")
    answers: int = Field(48, ge=0, description="Examples of the other kinds, at most.")


class TrainConfig(Schema):
    """What `rankrag train` does."""

    model: str = Field(
        description="What to start from: a directory or hub id of a model, `rankrag-mini-base`, or the run folder of "
        "an earlier stage."
    )
    blend: str = Field(description="Folder that `rankrag blend` wrote.")
    out: str = Field(description="Run folder: checkpoints, the model or adapter, logs.")
    turn_format: Literal["plain", "chat_template"] = Field("chat_template", description="Turn markers of the prompts.")
    layout: Literal["passage_first", "question_first"] = Field("passage_first", description="Paper: passage first.")
    history_turns: int = Field(7, ge=1, description="Earlier messages that stay in a prompt; ChatRAG keeps 7.")
    passage_tokens: int = Field(320, ge=8, description="A passage is cut to this many tokens.")
    max_tokens: int = Field(4096, ge=64, description="Longest example, its target included.")
    pad_token: str | None = Field(None, description="Token that fills up rows, for a tokenizer that names none.")
    method: Literal["full", "lora", "qlora"] = Field(
        "lora", description="Train all weights, an adapter, or an adapter on a base in 4 bits (CUDA only)."
    )
    lora: LoraSettings = Field(default_factory=lambda: LoraSettings.model_validate({}), description="The adapter.")
    merge: bool = Field(False, description="Write beside an adapter also the model with the adapter merged into it.")
    learning_rate: float = Field(5e-4, gt=0, description="Peak rate; LoRA on a small model needs far more than 3e-7.")
    adam_betas: tuple[float, float] = Field((0.9, 0.98), description="Paper, section 5.1.")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay.")
    max_grad_norm: float = Field(1.0, gt=0, description="Gradient clipping.")
    schedule: Literal["linear", "cosine"] = Field(
        "linear", description="Fall of the rate: over the last `decay_steps`, or as a cosine from the warm-up on."
    )
    warmup_steps: int = Field(20, ge=0, description="Linear warm-up.")
    decay_steps: int = Field(150, ge=0, description="Last steps, over which the `linear` schedule falls.")
    final_rate_share: float = Field(0.05, ge=0, le=1, description="Rate after the last step, as a share of the peak.")
    max_steps: int = Field(-1, ge=-1, description="Steps in all; -1 is one pass over the blend.")
    tokens_per_batch: int = Field(
        1536, ge=64, description="Tokens of one forward pass on one device, padding included; a multiple of 6."
    )
    batches_per_step: int = Field(1, ge=1, description="Batches of one step, over all devices.")
    examples_per_step: int | None = Field(
        None, ge=1, description="Examples of one step (paper: 128, then 64), instead of `batches_per_step`."
    )
    label_weight: float = Field(2.0, gt=0, description="Weight of a ranking label's loss (paper: 1).")
    answer_weight: float = Field(0.5, gt=0, description="Weight of an answer token's loss (paper: 1).")
    ranking_loss: Literal["pointwise", "listwise", "both"] = Field(
        "pointwise", description="Each label by itself (paper), a softmax over a question's candidates, or the sum."
    )
    gradient_checkpointing: bool = Field(False, description="Compute activations twice instead of keeping them.")
    compile: bool = Field(True, description="Compile each layer (2x on a CPU; needs a C++ compiler there).")
    bf16: bool | None = Field(None, description="Compute in bfloat16; by default where the machine has it.")
    sharding: Literal["none", "fsdp2"] = Field(
        "none", description="Under torchrun: a whole model in each process, or weights and optimiser in shards."
    )
    dev: DevSettings | None = Field(None, description="Dev figures, measured while the run goes on; none.")
    log_steps: int = Field(10, ge=1, description="Steps between two lines of the log.")
    save_steps: int = Field(50, ge=1, description="Steps between checkpoints.")
    keep_checkpoints: int = Field(2, ge=1, description="Newest checkpoints that are kept.")
    seed: int = Field(0, description="Order of the rows and start of the adapter.")


class SystemConfig(Schema):
    """One of the systems that an evaluation compares."""

    name: str = Field(min_length=1, description="Its name in the report.")
    model: str = Field(
        "rankrag-mini", description="What answers: rankrag-mini, a directory, a hub id, an address; `none` ranks only."
    )
    ranker: str = Field(
        "model",
        description="`model` is the one that answers (RankRAG), `none` keeps the first stage's order, `model:NAME` is "
        "another language model, `cross-encoder:NAME` and `bi-encoder:NAME` are of sentence-transformers.",
    )
    retriever: Literal["bm25", "dense", "hybrid", "none"] = Field(
        "bm25", description="The first stage; `none` is closed book."
    )
    encoder: str | None = Field(None, description="Encoder of dense or hybrid retrieval; by default the run's.")
    n: int = Field(20, ge=1, description="Passages that are retrieved and reranked (paper: 100 at 8B, 30 at 70B).")
    k: int = Field(5, ge=1, description="Passages that are answered from (paper: 5, 10 or 20).")
    pure: bool = Field(False, description="Order by the language model alone, as the paper does; no encoder's share.")
    abstain: bool = Field(False, description="Withhold answers below the fitted threshold; the paper withholds none.")
    setting: Literal["own", "paper-8b", "paper-70b"] = Field(
        "own", description="`paper-8b`, `paper-70b`: first stage, N, k and order of the paper, set by set."
    )
    ranking_pairs: int | None = Field(
        None, ge=0, description="Ranking pairs that the model was trained on, for the paper's figure 4."
    )


class SetConfig(Schema):
    """A set of one's own in an evaluation; files lie in the data folder."""

    name: str = Field(min_length=1, description="Its name, and that of its folder in the run.")
    rows: str = Field(description="File of its questions.")
    form: Literal["rankrag", "beir", "flashrag", "dpr", "kilt", "chatrag", "mirage"] = Field(
        "rankrag", description="What the questions look like; `rankrag` is docs/data.md."
    )
    corpora: tuple[str, ...] = Field((), description="Files or folders of its passages; none where rows bring theirs.")
    companion: str = Field("", description="BEIR's table of judgements (qrels/NAME.tsv), ChatRAG's documents.")
    subset: str = Field("", description="The part that is meant of a file that holds several, as MIRAGE's does.")
    style: Literal["short", "span", "long", "short_or_long", "claim", "choice", "conversation"] | None = Field(
        "short", description="Kind of answer; null where nothing is answered, as in BEIR."
    )
    metric: (
        Literal["R@1", "R@5", "R@20", "all-gold@5", "hit@1", "RR", "NDCG@10", "answer-recall@5", "answer-recall@20"]
        | None
    ) = Field("answer-recall@5", description="What its ranking is judged by; null where that cannot be told.")
    answer_metrics: tuple[
        Literal["EM", "F1", "Acc", "ChatRAG F1", "FEVER accuracy", "MIRAGE accuracy", "MIRAGE strict"], ...
    ] = Field(("EM", "F1", "Acc"), description="What its answers are judged by.")


NamedSet = Annotated[
    Annotated[str, Tag("name")] | Annotated[SetConfig, Tag("own")],
    Discriminator(lambda value: "name" if isinstance(value, str) else "own"),
]


class ComparisonConfig(Schema):
    """What `rankrag evaluate CONFIG` compares."""

    data: str = Field("${RANKRAG_DATA}", description="Folder of the data sets; environment variables are filled in.")
    out: str = Field(description="Run folder; what it holds is not done again.")
    sets: tuple[NamedSet, ...] = Field(
        (), description="Names of sets, or sets of one's own (table below); by default all that are at hand."
    )
    sample: int | None = Field(
        None, ge=0, description="Questions of a set; by default the set's own number for a CPU, 0 is all."
    )
    seed: int = Field(0, description="Seed of the sample.")
    history_query: Literal["last", "all", "speakers", "both"] = Field(
        "all",
        description="Turns that conversations are searched by, `speakers` with who said them (dragon-multiturn); the "
        "same for all systems, which share retrieval.",
    )
    state_cache: str = Field("memory", description="Where states of passages are kept: memory, off, or a folder.")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, …")
    dtype: str = Field("auto", description="auto, float32, bfloat16, float16 or int8.")
    encoder: str | None = Field(
        None, description="Encoder of systems that search by vectors and name none; by default all-MiniLM-L6-v2."
    )
    systems: tuple[SystemConfig, ...] = Field(
        min_length=1, description="What is compared; the others are tested against the first one."
    )


class AblationRow(Schema):
    """One row of an ablation: what differs from the full recipe, in data, training or test."""

    title: str = Field(description="Its name in the table.")
    paper: str = Field("", description="Its row in the paper's table 3, by the name it has there.")
    model_of: str | None = Field(None, description="A row whose model is tested another way, instead of an own one.")
    start: Literal["base", "stage1"] = Field("stage1", description="What it is trained from.")
    data: Literal["stage1", "stage2", "none"] = Field(
        "stage2", description="Blend it is trained on; `none`: untrained."
    )
    keep: dict[str, float] = Field(
        {}, description="Factors from 0 to 1 on the blend's weights, by kind, source or `source/kind`."
    )
    hard_only: bool = Field(False, description="BM25 hard negatives in the place of the random ones.")
    split_lists: bool = Field(False, description="Questions of a list are asked of each passage alone (RA-DIT, RAFT).")
    candidates: int | None = Field(
        None, ge=2, description="Ranking examples of one question, at most; a listwise loss needs them in one sequence."
    )
    train: dict[str, float | bool | str | None] = Field({}, description="Keys of the training file, over `train_keys`.")
    rerank: bool = Field(True, description="Whether its answers come from the reranked order, or from BM25's.")


class AblationConfig(Schema):
    """What `rankrag ablate` does: one recipe, and rows that each leave out or change a part of it."""

    stage1_blend: str = Field(description="File of stage I's blend.")
    stage1_train: str = Field(description="File of stage I's training.")
    blend: str = Field(description="File of stage II's blend.")
    train: str = Field(description="File of stage II's training.")
    blend_keys: dict[str, float | bool | str | None] = Field({}, description="Keys over those of both blends.")
    train_keys: dict[str, float | bool | str | None] = Field({}, description="Keys over those of both trainings.")
    stage1_steps: int = Field(ge=1, description="Steps of stage I; a row without it has as many more of its own.")
    steps: int = Field(ge=1, description="Steps of each row after its start.")
    questions: dict[str, int] = Field({"nq": 150, "squad": 150}, description="Test questions by set of `evaluate`.")
    n: int = Field(
        4, ge=2, description="Passages of BM25 that are reranked; questions without a gold one are left out."
    )
    k: int = Field(1, ge=1, description="Passages to answer from.")
    instructions: int = Field(60, ge=1, description="Held-back instructions whose replies' loss is measured.")
    seed: int = Field(0, description="Of the samples, and of what is kept of a blend.")
    rows: dict[str, AblationRow] = Field(description="The rows by name; `full` is what the others are compared with.")
