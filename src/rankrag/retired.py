"""What was removed, with what replaces it: commands, options, keys of YAML files, and fields of contracts."""

from __future__ import annotations

from collections.abc import Sequence

from rankrag.errors import ConfigError

_NOW_SETTINGS = {
    "no-rerank": "rerank=false",
    "pure": "similarity=false",
    **{
        key: f"{key.replace('-', '_')}=…"
        for key in ("seed", "settled-from", "history-query", "score", "state-cache", "encoder")
    },
}

OPTIONS = {
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
        f"{command} --{option}": f"use --set {setting}, or the same key in a settings file"
        for command in ("ask", "chat", "rerank", "evaluate")
        for option, setting in _NOW_SETTINGS.items()
    },
}
"""By the words that name them: a command, a command with its option, or an option (with its value) of any command."""


KEYS = {
    "remove_contaminated": "what is in an evaluation set is always removed; leave it out",
    "tokenizer": "tokens of a blend are counted as words times 1.3; leave it out",
    "aux_layer": "ranking is learnt after the last layer only; leave it out",
    "aux_weight": "ranking is learnt after the last layer only; leave it out",
    "ranking_loss": "each label is learnt by itself, as in the paper; a listwise loss gained nothing; leave it out",
    "first_in_view": "no model that was trained with it ranked better; leave it out",
    "orders": "a model trained with it followed planted orders as rarely as one without it; leave it out",
    "state_form": "states are kept exactly; leave it out",
    "pure": "use similarity: false, which `rankrag ask` has too",
}
"""Of YAML files."""

FIELDS = {
    "head": "was for ranking from a middle layer, which P(True) replaces; delete it and run `rankrag fit --save` again",
    "layer_head": "is no longer a score; set 'score' to 'true_vs_false'",
    "first_stage_weight": "is replaced by 'similarity_weight'; delete it and run `rankrag fit --save` again",
}
"""Of contracts, and a score that they had."""


def refuse_retired(arguments: Sequence[str]) -> None:
    """Raise `ConfigError` with the replacement if the command line uses something that was removed."""
    options = arguments[: arguments.index("--")] if "--" in arguments else arguments
    words = [word for one in options for word in (one.split("=", 1) if one.startswith("-") else [one])]
    given = "\0".join(["", *words, ""])  # the words of a question are one argument, so none of them is an option
    for name, instead in OPTIONS.items():
        command, _, option = name.partition(" ") if not name.startswith("-") else ("", "", name)
        if command in ("", *words[:1]) and (not option or f"\0{option}\0".replace(" ", "\0") in given):
            raise ConfigError(f"{name}: {instead}")
