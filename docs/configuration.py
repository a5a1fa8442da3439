"""Make docs/configuration.md, the page of all keys: `python docs/configuration.py > docs/configuration.md`."""

from __future__ import annotations

from rankrag.config.answering import AskConfig
from rankrag.config.blend import BlendConfig, EvaluationConfig, HubConfig, SourceConfig, WritingConfig
from rankrag.config.evaluation import ComparisonConfig, SetConfig, SystemConfig
from rankrag.config.schema import Schema
from rankrag.config.training import DevSettings, LoraSettings, TrainConfig

_PAGES: tuple[tuple[str, type[Schema]], ...] = (
    ("`rankrag ask`, `chat`, `rerank` and `rankrag.load`", AskConfig),
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
    ("`rankrag evaluate`: a set of your own", SetConfig),
)


def _shown(default: object) -> str:
    return (
        f"[{', '.join(default)}]"
        if isinstance(default, tuple) and default and isinstance(default[0], str)
        else repr(default)
    )


def reference() -> str:
    """Return docs/configuration.md: every key of every YAML file with its default and its meaning."""
    lines = [
        "# Configuration",
        "",
        "A YAML file holds only what differs from these defaults. `--set key=value` changes one key.",
        "`${NAME}` in a text is filled in from the environment. This page is made by `python docs/configuration.py`.",
    ]
    for title, schema in _PAGES:
        lines += ["", f"## {title}", "", "| key | default | meaning |", "|---|---|---|"]
        for name, field in schema.model_fields.items():
            nested = isinstance(field.annotation, type) and issubclass(field.annotation, Schema)
            default = "see below" if nested else "required" if field.is_required() else f"`{_shown(field.default)}`"
            lines.append(f"| `{name}` | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(reference(), end="")
