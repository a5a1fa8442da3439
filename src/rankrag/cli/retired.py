"""Commands and options that were removed, with what replaces each."""

from __future__ import annotations

from collections.abc import Sequence

from rankrag.errors import ConfigError

_NOW_SETTINGS = {
    "--seed": "seed=…",
    "--settled-from": "settled_from=…",
    "--history-query": "history_query=…",
    "--score": "score=…",
    "--state-cache": "state_cache=…",
    "--encoder": "encoder=…",
    "--no-rerank": "rerank=false",
    "--pure": "similarity=false",
}

RETIRED = {
    "ablate": "in a checkout of rankrag, python -m experiments.ablation takes its place",
    "paper": "in a checkout of rankrag, python -m experiments.paper takes its place",
    "--windows": "windows of five rank worse than judging each passage; --set settled_from=… judges fewer passages",
    "fit --head": "a middle layer ranks no better than P(True) until nearly all layers are computed; leave it out",
    "evaluate --score": "an evaluation takes the score of the model's contract; leave it out",
    "--state-form": "states are kept exactly; leave it out",
    "--dtype int8": "it was slower and saved nothing while loading; serve a GGUF file of fewer bits (docs/backends.md)",
    "retrieve --set": "in a checkout of rankrag, python -m experiments.freezing keeps the first stage of a set; for "
    "questions of your own, use --questions FILE --out FOLDER/runs/NAME.trec --freeze",
    **dict.fromkeys(
        ("parity --questions", "parity --index", "parity --k"),
        "name pairs instead: --candidates FILE, whose rows have a question and its candidates",
    ),
    "blend --questions": "use --set writing.questions=…, or the same key in the configuration",
    "blend --licence": "use --set licence=…, or the same key in the configuration",
    "evaluate --freeze": "in a checkout of rankrag, python -m experiments.freezing takes its place",
    "export --to onnx": "it was slower than torch (docs/performance.md); --to sequence-classifier has the form that "
    "exporters of transformers models to ONNX take",
    "--score layer_head": "a middle layer no longer ranks; use --set score=true_vs_false",
    **{
        f"{command} {option}": f"use --set {setting}, or the same key in a settings file"
        for command in ("ask", "chat", "rerank", "evaluate")
        for option, setting in _NOW_SETTINGS.items()
    },
}
"""By the words that name them: a command, a command with its option, or an option (with its value) of any command."""


def refuse_retired(arguments: Sequence[str]) -> None:
    """Raise `ConfigError` with the replacement if the command line uses something that was removed."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    for name, instead in RETIRED.items():
        command, _, option = name.partition(" ") if not name.startswith("-") else ("", "", name)
        if (not command or arguments[:1] == [command]) and (not option or _names(options, option)):
            raise ConfigError(f"{name}: {instead}")


def _names(arguments: Sequence[str], option: str) -> bool:
    """Whether the arguments hold an option, or an option with this value as `--option value` or `--option=value`."""
    key, _, value = option.partition(" ")
    following = [*arguments[1:], ""]
    return any(
        (argument.partition("=")[0] == key and not value)
        or argument == f"{key}={value}"
        or (argument == key and after == value)
        for argument, after in zip(arguments, following, strict=True)
    )
