"""What `rankrag ablate` does."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rankrag.config.schema import Schema


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
