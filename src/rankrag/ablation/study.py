"""From an ablation's configuration to models that can be made one by one; or all its problems in one error.

Every row sees as many tokens: stage I, which rows share, then the row's own steps; a row that starts from the base has
stage I's steps as well. A row's data are a part of one blend, drawn once for all: factors on weights thin its parts,
which is what drawing by these weights gives, for less mining and with the same examples in every row.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from rankrag.ablation.paper import TABLE_3
from rankrag.blend.prepare import config_problems
from rankrag.blend.weights import blend_slots
from rankrag.config.ablation import AblationConfig, AblationRow
from rankrag.config.blend import BlendConfig
from rankrag.config.schema import Schema, load_config
from rankrag.config.training import TrainConfig
from rankrag.data.catalogue import BENCHMARKS
from rankrag.errors import ConfigError
from rankrag.types import DataKind

FULL = "full"

_PLACES = {"model", "blend", "out", "compile", "save_steps", "keep_checkpoints", "merge"}
"""Keys of a training that do not change what is learnt, or are filled in by the study."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How one model is made: on which part of which blend, with which settings, going on from which other one."""

    name: str
    blend: BlendConfig
    keep: Mapping[str, float]
    split_lists: bool
    candidates: int | None
    train: TrainConfig
    start: Recipe | None
    seed: int

    @property
    def digest(self) -> str:
        """A short digest of all that decides what is learnt, so that no result outlives its configuration."""
        start = self.start.digest if self.start else self.train.model
        data = [blend_digest(self.blend), dict(self.keep), self.split_lists, self.candidates, self.seed]
        return _digest([data, self.train.model_dump(mode="json", exclude=_PLACES), start])

    @property
    def tokens(self) -> int:
        """Tokens of all forward passes, padding included, with those of the start."""
        own = self.train.max_steps * self.train.tokens_per_batch * self.train.batches_per_step
        return own + (self.start.tokens if self.start else 0)


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the table: how its model is made (None: the base as it is), and how it is tested."""

    name: str
    title: str
    paper: str
    recipe: Recipe | None
    rerank: bool


@dataclass(frozen=True, slots=True)
class Study:
    """An ablation that has been checked; `instructions` is the blend whose held-back part tests general ability."""

    config: AblationConfig
    rows: tuple[Row, ...]
    instructions: BlendConfig
    base: TrainConfig

    def chosen(self, names: Sequence[str]) -> tuple[Row, ...]:
        """Return the rows of these names in the order of the table, all for none; `ConfigError` lists unknown ones."""
        known = [row.name for row in self.rows]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ConfigError(
                f"no row is called {'; '.join(_near(n, known) for n in unknown)}; there are {_list(known)}"
            )
        return tuple(row for row in self.rows if not names or row.name in names)

    def key(self, row: Row) -> str:
        """Return a digest of how a row's model is made and tested."""
        config = self.config
        made = row.recipe.digest if row.recipe else self.base.model
        test = [config.questions, config.n, config.k, config.instructions, config.seed, row.rerank]
        return _digest([made, *test])


def open_study(config: AblationConfig) -> Study:
    """Return what an ablation does; `ConfigError` lists all problems of it and of the four files that it names."""
    problems: list[str] = []
    stage1_blend = _loaded(BlendConfig, config.stage1_blend, config.blend_keys, problems)
    stage2_blend = _loaded(BlendConfig, config.blend, config.blend_keys, problems)
    stage1_train = _loaded(TrainConfig, config.stage1_train, config.train_keys, problems)
    for name, row in config.rows.items():
        problems += [f"row {name!r}: {problem}" for problem in _row_problems(config, row, stage1_blend, stage2_blend)]
        _loaded(TrainConfig, config.train, config.train_keys | row.train, problems, f"row {name!r}: ")
    problems += _study_problems(config, stage1_blend, stage2_blend, stage1_train)
    if problems or stage1_blend is None or stage2_blend is None or stage1_train is None:
        listed = "".join(f"\n  - {problem}" for problem in dict.fromkeys(problems))
        raise ConfigError(f"the ablation cannot start:{listed}")
    # the same questions are held back from both blends, so that instructions are new to every row
    stage1_blend = stage1_blend.model_copy(update={"held_back": stage2_blend.held_back})
    shared = Recipe(
        "stage1", stage1_blend, {}, False, None, _stepped(stage1_train, config.stage1_steps), None, config.seed
    )
    recipes = {
        name: _recipe(config, name, row, shared, stage2_blend)
        for name, row in config.rows.items()
        if row.model_of is None and row.data != "none"
    }
    rows = tuple(
        Row(name, row.title, row.paper, recipes.get(row.model_of or name), row.rerank)
        for name, row in config.rows.items()
    )
    return Study(config, rows, stage1_blend, stage1_train)


def blend_digest(config: BlendConfig) -> str:
    """Return a digest of a blend's configuration, wherever its data lie."""
    return _digest(config.model_dump(mode="json", exclude={"data"}))


def hard_only(config: BlendConfig) -> BlendConfig:
    """Return a blend with a BM25 hard negative for each random one, so that the share of `True` stays."""
    sources = tuple(s.model_copy(update={"hard": s.hard + s.random, "random": 0.0}) for s in config.sources)
    return config.model_copy(update={"sources": sources})


def _recipe(config: AblationConfig, name: str, row: AblationRow, shared: Recipe, stage2: BlendConfig) -> Recipe:
    file = config.train if row.data == "stage2" else config.stage1_train
    train = load_config(TrainConfig, Path(file), _overrides(config.train_keys | row.train))
    start = shared if row.start == "stage1" else None
    steps = config.steps + (0 if start else config.stage1_steps)
    if start is None:
        train = train.model_copy(update={"model": shared.train.model})
    blend = shared.blend if row.data == "stage1" else hard_only(stage2) if row.hard_only else stage2
    return Recipe(name, blend, row.keep, row.split_lists, row.candidates, _stepped(train, steps), start, config.seed)


def _stepped(train: TrainConfig, steps: int) -> TrainConfig:
    return train.model_copy(update={"max_steps": steps})


C = TypeVar("C", bound=Schema)


def _loaded(
    schema: type[C], file: str, keys: Mapping[str, float | bool | str | None], problems: list[str], where: str = ""
) -> C | None:
    try:
        return load_config(schema, Path(file), _overrides(keys))
    except ConfigError as error:
        problems.append(f"{where}{error}")
        return None


def _overrides(keys: Mapping[str, float | bool | str | None]) -> tuple[str, ...]:
    return tuple(f"{key}={json.dumps(_whole(value))}" for key, value in keys.items())


def _whole(value: float | bool | str | None) -> float | bool | str | None:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _study_problems(
    config: AblationConfig, stage1: BlendConfig | None, stage2: BlendConfig | None, train: TrainConfig | None
) -> Iterator[str]:
    if FULL not in config.rows:
        yield f"rows: {FULL!r} is missing, which all others are compared with"
    elif config.rows[FULL].model_of or config.rows[FULL].data != "stage2":
        yield f"row {FULL!r}: it needs a model of its own, trained on stage II"
    known = [name for name, of in BENCHMARKS.items() if of.style and not of.unanswerable]
    for name, number in config.questions.items():
        if name not in known:
            yield f"questions: no set with answers is called {_near(name, known)}; there are {_list(known)}"
        elif number < 1:
            yield f"questions: {name} has {number}; it must be 1 or more"
    if config.k > config.n:
        yield f"k: {config.k} passages to answer from are more than the {config.n} that are retrieved"
    for file, blend in ((config.stage1_blend, stage1), (config.blend, stage2)):
        yield from (f"{file}: {problem}" for problem in (config_problems(blend) if blend else ()))
    if stage2 and not stage2.held_back:
        yield f"{config.blend}: held_back is 0, so no instruction is left to test with"
    if stage1 and not any(DataKind.SFT in source.kinds for source in stage1.sources):
        yield f"{config.stage1_blend}: no source gives instructions (kinds: [sft])"
    if train and train.examples_per_step is not None:
        yield "examples_per_step: rows are compared for equal tokens; leave it out, and set batches_per_step"


def _row_problems(
    config: AblationConfig, row: AblationRow, stage1: BlendConfig | None, stage2: BlendConfig | None
) -> Iterator[str]:
    if row.paper and row.paper not in TABLE_3:
        yield f"paper: table 3 has no row {_near(row.paper, TABLE_3)}; there are {_list(TABLE_3)}"
    if row.model_of is not None:
        of = config.rows.get(row.model_of)
        if of is None:
            yield f"model_of: no row is called {_near(row.model_of, config.rows)}"
        elif of.model_of is not None:
            yield f"model_of: {row.model_of!r} has no model of its own; name {of.model_of!r}"
        if row.keep or row.train or row.hard_only or row.split_lists or row.candidates:
            yield "model_of: the model is another row's, so data and training cannot differ; leave them out"
    blend = stage1 if row.data == "stage1" else stage2
    for key, share in row.keep.items():
        if blend is not None:
            yield from (f"keep: {problem}" for problem in _key_problems(key, blend))
        if not 0 <= share <= 1:
            yield f"keep: {key!r} is {share}; it must lie between 0 and 1"
    if blend is not None and not _anything_left(blend, row.keep):
        yield "keep: nothing of the blend is left"


def _key_problems(key: str, blend: BlendConfig) -> Iterator[str]:
    kinds = {source.name: [str(kind) for kind in source.kinds] for source in blend.sources}
    name, _, kind = key.partition("/")
    known = [*DataKind, *kinds]
    if name not in known or (kind and name not in kinds):
        yield f"{_near(key, known)} is neither a kind nor a source of the blend"
    elif kind and kind not in kinds[name]:
        yield f"{key!r}: the source makes no {kind!r}, only {', '.join(sorted(kinds[name]))}"


def kept_share(keep: Mapping[str, float], source: str, kind: DataKind) -> float:
    """Return the product of the factors on one kind of a source; 1 where none is named."""
    share = 1.0
    for key in (str(kind), source, f"{source}/{kind}"):
        share *= keep.get(key, 1.0)
    return share


def _anything_left(blend: BlendConfig, keep: Mapping[str, float]) -> bool:
    return any(kept_share(keep, slot.source, kind) for slot in blend_slots(blend) for kind in slot.kinds)


def _near(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return repr(name) + (f" (did you mean {close[0]!r}?)" if close else "")


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _digest(of: object) -> str:
    return hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:10]
