"""From the configuration of an ablation to recipes, one for each model; or all its problems in one error.

Every row sees equally many tokens: stage I, which rows share, then its own steps. A row that starts from the base has
the steps of stage I as well. The data of a row are a part of one blend that is drawn once for all rows. Factors on
weights thin that part; drawing by these weights would give the same, but would mine and draw anew for each row.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import Field

from experiments.paper.numbers import TABLE_3
from rankrag.config.blend import BlendConfig
from rankrag.config.schema import Schema, load_config
from rankrag.config.training import TrainConfig
from rankrag.data.catalogue import BENCHMARKS
from rankrag.errors import ConfigError
from rankrag.types import DataKind

FULL = "full"

Keys = dict[str, float | bool | str | None]


class AblationRow(Schema):
    """One row: what differs from the full recipe, in data, training or test."""

    title: str = Field(description="Its name in the table.")
    paper: str = Field("", description="Its row in table 3 of the paper, by the name it has there.")
    model_of: str | None = Field(None, description="Row whose model is tested in another way; this one trains none.")
    start: Literal["base", "stage1"] = Field("stage1", description="What training starts from.")
    data: Literal["stage1", "stage2", "none"] = Field("stage2", description="Blend to train on; `none`: untrained.")
    keep: dict[str, float] = Field({}, description="Factors on the blend's weights: by kind, source or `source/kind`.")
    hard_only: bool = Field(False, description="BM25 hard negatives instead of random ones.")
    split_lists: bool = Field(False, description="Ask questions of a list about each passage alone (RA-DIT, RAFT).")
    train: Keys = Field({}, description="Keys of the training file, over `train_keys`.")
    rerank: bool = Field(True, description="Answer from the model's order, not from BM25's.")


class AblationConfig(Schema):
    """One recipe, and rows that each leave out or change a part of it."""

    stage1_blend: str = Field(description="File of the blend of stage I.")
    stage1_train: str = Field(description="File of the training of stage I.")
    blend: str = Field(description="File of the blend of stage II.")
    train: str = Field(description="File of the training of stage II.")
    blend_keys: Keys = Field({}, description="Keys over those of both blends.")
    train_keys: Keys = Field({}, description="Keys over those of both trainings.")
    stage1_steps: int = Field(ge=1, description="Steps of stage I; a row without it has as many more of its own.")
    steps: int = Field(ge=1, description="Steps of each row after its start.")
    questions: dict[str, int] = Field({"nq": 150, "squad": 150}, description="Test questions by benchmark.")
    n: int = Field(4, ge=2, description="BM25 passages to rank; questions without a gold passage are left out.")
    k: int = Field(1, ge=1, description="Passages to answer from.")
    instructions: int = Field(60, ge=1, description="Held-out instructions whose replies' loss is measured.")
    seed: int = Field(0, description="Seed of the samples, and of what is kept of a blend.")
    rows: dict[str, AblationRow] = Field(description="The rows by name; the others are compared with `full`.")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one model is made: the part of a blend, the settings, and the recipe of the model that it starts from."""

    name: str
    blend: BlendConfig
    train: TrainConfig
    seed: int
    start: Recipe | None = None
    keep: Mapping[str, float] = field(default_factory=dict)
    split_lists: bool = False

    @property
    def digest(self) -> str:
        """A short digest of all that decides what is learnt, so that no result outlives its configuration."""
        places = {"model", "blend", "out", "compile", "save_steps", "keep_checkpoints", "merge"}
        settings = self.train.model_dump(mode="json", exclude=places)  # these change nothing, or are filled in
        start = self.start.digest if self.start else self.train.model
        part = [dict(self.keep), self.split_lists, self.seed]
        return _digest([self.blend_digest, part, settings, start])

    @property
    def blend_digest(self) -> str:
        """A digest of the blend, wherever its data are."""
        return _digest(self.blend.model_dump(mode="json", exclude={"data"}))

    @property
    def tokens(self) -> int:
        """Tokens of all forward passes, padding included, with those of the start."""
        own = self.train.max_steps * self.train.tokens_per_batch * self.train.batches_per_step
        return own + (self.start.tokens if self.start else 0)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table, and how its model is made; without a recipe it is the base as it is."""

    name: str
    wanted: AblationRow
    recipe: Recipe | None


@dataclass(frozen=True, slots=True)
class Study:
    """A checked ablation; the held-out part of `instructions`, the blend of stage I, tests general ability."""

    config: AblationConfig
    rows: tuple[Row, ...]
    instructions: BlendConfig
    base: TrainConfig

    def chosen(self, names: Sequence[str]) -> tuple[Row, ...]:
        """Return the rows of these names in the order of the table, or all; `ConfigError` names an unknown one."""
        known = [row.name for row in self.rows]
        if unknown := [name for name in names if name not in known]:
            raise ConfigError(f"no row is called {', '.join(unknown)}; there are {', '.join(known)}")
        return tuple(row for row in self.rows if not names or row.name in names)


def open_study(config: AblationConfig) -> Study:
    """Return the study; `ConfigError` lists what is wrong with its rows and questions."""
    stage1, stage2 = (_load(BlendConfig, file, config.blend_keys) for file in (config.stage1_blend, config.blend))
    base = _load(TrainConfig, config.stage1_train, config.train_keys)
    # both blends hold out the same questions, so that the instructions are new to every row
    stage1 = stage1.model_copy(update={"held_back": stage2.held_back})
    problems = list(_problems(config, stage1, stage2))
    if problems:
        raise ConfigError("the ablation cannot start:" + "".join(f"\n  - {problem}" for problem in problems))
    shared = Recipe("stage1", stage1, base.model_copy(update={"max_steps": config.stage1_steps}), config.seed)
    recipes = {
        name: _recipe(config, name, row, shared, stage2)
        for name, row in config.rows.items()
        if row.model_of is None and row.data != "none"
    }
    rows = tuple(Row(name, row, recipes.get(row.model_of or name)) for name, row in config.rows.items())
    return Study(config, rows, stage1, base)


def hard_only(config: BlendConfig) -> BlendConfig:
    """Return a blend with a BM25 hard negative for each random one, so that the share of `True` stays."""
    sources = tuple(s.model_copy(update={"hard": s.hard + s.random, "random": 0.0}) for s in config.sources)
    return config.model_copy(update={"sources": sources})


def kept_share(keep: Mapping[str, float], source: str, kind: DataKind) -> float:
    """Return the product of the factors on one kind of a source; 1 if none is given."""
    share = 1.0
    for key in (str(kind), source, f"{source}/{kind}"):
        share *= keep.get(key, 1.0)
    return share


def _recipe(config: AblationConfig, name: str, row: AblationRow, shared: Recipe, stage2: BlendConfig) -> Recipe:
    file = config.train if row.data == "stage2" else config.stage1_train
    train = _load(TrainConfig, file, config.train_keys | row.train)
    blend = shared.blend if row.data == "stage1" else hard_only(stage2) if row.hard_only else stage2
    steps = config.steps + (config.stage1_steps if row.start == "base" else 0)
    start = {"model": shared.train.model} if row.start == "base" else {}
    return Recipe(
        name,
        blend,
        train.model_copy(update={"max_steps": steps, **start}),
        config.seed,
        start=shared if row.start == "stage1" else None,
        keep=row.keep,
        split_lists=row.split_lists,
    )


C = TypeVar("C", bound=Schema)


def _load(schema: type[C], file: str, keys: Keys) -> C:
    whole = {key: int(v) if isinstance(v, float) and v.is_integer() else v for key, v in keys.items()}
    return load_config(schema, Path(file), tuple(f"{key}={json.dumps(value)}" for key, value in whole.items()))


def _problems(config: AblationConfig, stage1: BlendConfig, stage2: BlendConfig) -> Iterator[str]:
    if FULL not in config.rows or config.rows[FULL].model_of or config.rows[FULL].data != "stage2":
        yield f"rows: {FULL!r} is missing or has no model of stage II; all others are compared with it"
    known = [name for name, benchmark in BENCHMARKS.items() if benchmark.style and not benchmark.unanswerable]
    yield from (f"questions: {name!r} is no set with answers" for name in config.questions if name not in known)
    if config.k > config.n:
        yield f"k: {config.k} passages to answer from are more than the {config.n} that are retrieved"
    for name, row in config.rows.items():
        blend = stage1 if row.data == "stage1" else stage2
        yield from (f"row {name!r}: {problem}" for problem in _row_problems(config, row, blend))


def _row_problems(config: AblationConfig, row: AblationRow, blend: BlendConfig) -> Iterator[str]:
    if row.paper and row.paper not in TABLE_3:
        yield f"paper: {row.paper!r} is no row of table 3; there are {', '.join(TABLE_3)}"
    if row.model_of is not None and (row.model_of not in config.rows or config.rows[row.model_of].model_of):
        yield f"model_of: {row.model_of!r} is no row with a model of its own"
    if row.model_of is not None and (row.keep or row.train or row.hard_only or row.split_lists):
        yield "model_of: the model is another row's, so data and training cannot differ; leave them out"
    made = {(source.name, str(kind)) for source in blend.sources for kind in source.kinds}
    keys = {key for name, kind in made for key in (name, kind, f"{name}/{kind}")}
    yield from (f"keep: {key!r} is neither a kind nor a source of the blend" for key in row.keep if key not in keys)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]
