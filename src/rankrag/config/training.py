"""What `rankrag train` does."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rankrag.config.schema import Schema


class LoraSettings(Schema):
    """Low-rank adapter. An adapter that is trained on keeps the settings it has."""

    r: int = Field(32, ge=1, description="Rank.")
    alpha: int = Field(64, ge=1, description="Scale; the update is multiplied by alpha / r.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before the adapter.")
    target_modules: tuple[str, ...] = Field((), description="Adapted modules; by default all linear layers.")
    top_layers: int | None = Field(
        None,
        ge=1,
        description="Adapt only this many of the last layers, with no backward pass below them; by default all.",
    )


class DevSettings(Schema):
    """What is measured during a run. Measuring does not change what is learnt."""

    steps: int = Field(100, ge=1, description="Steps between two measurements; the first one is before the first step.")
    examples: str | None = Field(None, description="File of examples in the blend's form, instead of a `share`.")
    share: float = Field(
        0.02, gt=0, lt=1, description="Share of the blend's documents that are held out, with their questions."
    )
    ranking: int = Field(48, ge=0, description="Questions whose labelled passages are ranked, at most.")
    answers: int = Field(48, ge=0, description="Examples of the other kinds, at most.")


class TrainConfig(Schema):
    """What `rankrag train` does."""

    model: str = Field(
        description="What to start from: a directory or hub id of a model, a base of ours such as "
        "`rankrag-small-base`, or the run folder of an earlier stage."
    )
    blend: str = Field(description="Folder that `rankrag blend` wrote.")
    out: str = Field(description="Run folder: checkpoints, the model or adapter, logs.")
    turn_format: Literal["plain", "chat_template"] = Field("chat_template", description="Turn markers of the prompts.")
    layout: Literal["passage_first", "question_first"] = Field("passage_first", description="Paper: passage first.")
    history_turns: int = Field(7, ge=1, description="Earlier messages that stay in a prompt; ChatRAG keeps 7.")
    passage_tokens: int = Field(320, ge=8, description="A passage is cut to this many tokens.")
    max_tokens: int = Field(4096, ge=64, description="Longest example, including its target.")
    pad_token: str | None = Field(None, description="Token that pads rows, for a tokenizer without one.")
    method: Literal["full", "lora", "qlora"] = Field(
        "lora", description="Train all weights, an adapter, or an adapter on a base in 4 bits (CUDA only)."
    )
    lora: LoraSettings = Field(default_factory=lambda: LoraSettings.model_validate({}), description="The adapter.")
    merge: bool = Field(False, description="Also write the model with the adapter merged into it.")
    learning_rate: float = Field(5e-4, gt=0, description="Peak rate; LoRA on a small model needs far more than 3e-7.")
    adam_betas: tuple[float, float] = Field((0.9, 0.98), description="Paper, section 5.1.")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay.")
    max_grad_norm: float = Field(1.0, gt=0, description="Gradient clipping.")
    schedule: Literal["linear", "cosine"] = Field(
        "linear", description="How the rate falls: over the last `decay_steps`, or as a cosine after the warm-up."
    )
    warmup_steps: int = Field(20, ge=0, description="Linear warm-up.")
    decay_steps: int = Field(150, ge=0, description="Last steps, over which the `linear` schedule falls.")
    final_rate_share: float = Field(0.05, ge=0, le=1, description="Rate after the last step, as a share of the peak.")
    max_steps: int = Field(-1, ge=-1, description="Steps in all; -1 for one pass over the blend.")
    tokens_per_batch: int = Field(
        1536, ge=64, description="Tokens in one forward pass on one device, including padding; a multiple of 6."
    )
    batches_per_step: int = Field(1, ge=1, description="Batches in one step, over all devices.")
    examples_per_step: int | None = Field(
        None, ge=1, description="Examples in one step (paper: 128, then 64), instead of `batches_per_step`."
    )
    label_weight: float = Field(2.0, gt=0, description="Weight of a ranking label's loss (paper: 1).")
    answer_weight: float = Field(0.5, gt=0, description="Weight of an answer token's loss (paper: 1).")
    gradient_checkpointing: bool = Field(False, description="Compute activations twice instead of keeping them.")
    compile: bool = Field(True, description="Compile each layer (2x on a CPU; needs a C++ compiler there).")
    bf16: bool | None = Field(None, description="Compute in bfloat16; by default if the hardware supports it.")
    sharding: Literal["none", "fsdp2"] = Field(
        "none", description="Under torchrun: a whole model in each process, or weights and optimiser in shards."
    )
    dev: DevSettings | None = Field(None, description="Dev figures, measured during the run; by default none.")
    log_steps: int = Field(10, ge=1, description="Steps between two lines of the log.")
    save_steps: int = Field(50, ge=1, description="Steps between checkpoints.")
    keep_checkpoints: int = Field(2, ge=1, description="Newest checkpoints to keep.")
    average_checkpoints: int = Field(
        1, ge=1, description="The result has the mean weights of this many checkpoints, the newest; at most those kept."
    )
    seed: int = Field(0, description="Seed for the order of the rows and the start of the adapter.")
