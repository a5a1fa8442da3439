"""Reading YAML files by their schemas, and the page that lists all their keys."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from rankrag.config import (
    AblationConfig,
    AblationRow,
    BlendConfig,
    ComparisonConfig,
    DevSettings,
    EvaluationConfig,
    HubConfig,
    LoraSettings,
    Schema,
    SetConfig,
    SourceConfig,
    SystemConfig,
    TrainConfig,
    WritingConfig,
)
from rankrag.errors import ConfigError

S = TypeVar("S", bound=Schema)

_RETIRED = {
    "aux_layer": "ranking is learnt after the last layer only; leave it out",
    "aux_weight": "ranking is learnt after the last layer only; leave it out",
}
"""What replaces each key that YAML files once had."""


def load_config(schema: type[S], path: Path | None, overrides: tuple[str, ...] = ()) -> S:
    """Return the configuration of a YAML file with `key=value` overrides; `ConfigError` lists all problems at once.

    Without a file the overrides are all there is.
    """
    where = path or "the options"
    try:
        found = (yaml.safe_load(path.read_text(encoding="utf-8")) if path else None) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: not readable as YAML ({error})") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{path}: holds {type(found).__name__}, not keys and values")
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals:
            raise ConfigError(f"--set {override}: must read key=value")
        _put(found, key.split("."), yaml.safe_load(value))
    try:
        config = schema.model_validate(found)
    except ValidationError as error:
        raise ConfigError(f"{where}: " + "; ".join(_problem(schema, e) for e in error.errors())) from None
    return schema.model_validate(_filled_in(config.model_dump(), where))


def reference() -> str:
    """Return docs/configuration.md: every key of every YAML file with its default and its meaning."""
    lines = [
        "# Configuration",
        "",
        "A YAML file holds only what differs from these defaults; `--set key=value` goes before it.",
        "`${NAME}` in a text is filled in from the environment. This page is made by `python -m rankrag.config_files`.",
    ]
    for title, schema in _PAGES:
        lines += ["", f"## {title}", "", "| key | default | meaning |", "|---|---|---|"]
        for name, field in schema.model_fields.items():
            nested = isinstance(field.annotation, type) and issubclass(field.annotation, Schema)
            default = "see below" if nested else "required" if field.is_required() else f"`{_shown(field.default)}`"
            lines.append(f"| `{name}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


_PAGES: tuple[tuple[str, type[Schema]], ...] = (
    ("`rankrag blend`", BlendConfig),
    ("`rankrag blend`: one of `sources`", SourceConfig),
    ("`rankrag blend`: `hub` of a source", HubConfig),
    ("`rankrag blend`: one of `evaluation`", EvaluationConfig),
    ("`rankrag blend`: `writing`", WritingConfig),
    ("`rankrag train`", TrainConfig),
    ("`rankrag train`: `lora`", LoraSettings),
    ("`rankrag train`: `dev`", DevSettings),
    ("`rankrag evaluate`", ComparisonConfig),
    ("`rankrag evaluate`: one of `systems`", SystemConfig),
    ("`rankrag evaluate`: a set of one's own", SetConfig),
    ("`rankrag ablate`", AblationConfig),
    ("`rankrag ablate`: one of `rows`", AblationRow),
)


def _shown(default: object) -> str:
    return (
        f"[{', '.join(default)}]"
        if isinstance(default, tuple) and default and isinstance(default[0], str)
        else repr(default)
    )


def _put(tree: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        tree = tree.setdefault(key, {})
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
    place = ".".join(map(str, error["loc"]))
    if error["type"] != "extra_forbidden":
        return f"{place}: {error['msg']} (found: {error['input']!r})"
    if error["loc"][-1] in _RETIRED:
        return f"{place}: {_RETIRED[error['loc'][-1]]}"
    inner: dict[str, type[Schema]] = {
        "sources": SourceConfig,
        "hub": HubConfig,
        "evaluation": EvaluationConfig,
        "writing": WritingConfig,
        "lora": LoraSettings,
        "dev": DevSettings,
        "sets": SetConfig,
        "systems": SystemConfig,
        "rows": AblationRow,
    }
    meant = next((inner[part] for part in reversed(error["loc"][:-1]) if part in inner), schema)
    known = sorted(meant.model_fields)
    close = difflib.get_close_matches(str(error["loc"][-1]), known, n=1)
    return f"{place}: unknown key" + (f"; did you mean {close[0]!r}?" if close else "")


if __name__ == "__main__":
    print(reference(), end="")
