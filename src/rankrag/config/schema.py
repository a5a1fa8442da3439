"""What all schemas share, and how a YAML file becomes one."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from rankrag.errors import ConfigError
from rankrag.retired import KEYS

StateCache = Annotated[str, BeforeValidator(lambda value: "off" if value is False else value)]
"""Where passage states are kept; YAML reads the word `off` as false."""


class Schema(BaseModel):
    """Common rules: unknown keys fail, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class MachineSettings(Schema):
    """Where and how a model runs."""

    device: str = Field(default="auto", description="auto, cpu, cuda, cuda:1, …; `cuda:0,cuda:1` shares the work.")
    dtype: str = Field(default="auto", description="auto, float32, bfloat16 or float16.")
    state_cache: StateCache = Field(
        default="memory", description="Where passage states are kept between questions: memory, off, or a folder."
    )
    ray: str | None = Field(
        default=None,
        description="Ray cluster for batches (`ask --questions`, `rerank`, `evaluate`): local, auto or HOST:PORT, with "
        "`?workers=4&cpus=8&gpus=1` (docs/cluster.md). By default this process does the work.",
    )


S = TypeVar("S", bound=Schema)


def load_config(
    schema: type[S],
    path: Path | None,
    overrides: Sequence[str] = (),
    *,
    options: Mapping[str, object] | None = None,
    defaults: Mapping[str, object] | None = None,
) -> S:
    """Return the configuration of a YAML file, changed by `key=value` overrides and then by command-line options.

    Options that are None were not given; a key may lead into a part (`writing.index`). What nothing sets comes from
    `defaults`, then from the schema. `${NAME}` in a text is filled in from the environment. `ConfigError` lists all
    problems at once.
    """
    where = path or "the options"
    found = dict(defaults or {}) | (_read(path) if path else {})
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise ConfigError(f"--set {override}: must read key=value")
        _put(found, key.split("."), yaml.safe_load(value))
    for key, given in (options or {}).items():
        if given is not None:
            _put(found, key.split("."), given)
    try:
        config = schema.model_validate(found)
    except ValidationError as error:
        raise ConfigError(f"{where}: " + "; ".join(_problem(schema, e) for e in error.errors())) from None
    return schema.model_validate(_filled_in(config.model_dump(), where))


def _read(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: not readable as YAML ({error})") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: holds {type(found).__name__}, not keys and values")
    return found


def _put(tree: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        if not isinstance(tree.get(key), dict):
            tree[key] = {}
        tree = tree[key]
    tree[keys[-1]] = value


def _filled_in(value: Any, where: Path | str) -> Any:
    if isinstance(value, dict):
        return {key: _filled_in(v, where) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_filled_in(v, where) for v in value]
    if not isinstance(value, str):
        return value
    filled = os.path.expandvars(value)
    if "${" in filled:
        raise ConfigError(f"{where}: {value!r} names an environment variable that is not set")
    return filled


def _problem(schema: type[Schema], error: Any) -> str:
    """Return one mistake in a file as a clause: where it is, what was found, and what must be there."""
    *above, key = error["loc"]
    place = ".".join(map(str, error["loc"]))
    if error["type"] != "extra_forbidden":
        return f"{place}: {error['msg'].replace('Input should', 'must')} (found: {error['input']!r})"
    if key in KEYS:
        return f"{place}: {KEYS[key]}"
    known = sorted(_schema_at(schema, above).model_fields)
    close = difflib.get_close_matches(str(key), known, n=1)
    guess = f"did you mean {close[0]!r}? " if close else ""
    return f"{place}: unknown key; {guess}known keys are {', '.join(known)}"


def _schema_at(schema: type[Schema], place: Sequence[str | int]) -> type[Schema]:
    """Return the schema of the part of a file that a place of pydantic's leads to."""
    for step in place:
        if step in schema.model_fields:
            inner = _schemas_in(schema.model_fields[str(step)].annotation)
            schema = inner[0] if inner else schema
    return schema


def _schemas_in(annotation: object) -> list[type[Schema]]:
    if isinstance(annotation, type) and issubclass(annotation, Schema):
        return [annotation]
    return [found for part in get_args(annotation) for found in _schemas_in(part)]
