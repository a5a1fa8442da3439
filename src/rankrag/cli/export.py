"""`rankrag export`: a model in the form of another program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from rankrag.cli import options
from rankrag.cli.options import say
from rankrag.errors import ConfigError

Target = Literal["sentence-transformers", "sequence-classifier"]


def export(
    *,
    to: Annotated[Target, typer.Option("--to", help="What shall load it.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the export; must not exist, or be empty.")],
    model: options.Model = "rankrag-mini",
    dtype: options.Dtype = "float32",
) -> None:
    """Write a model for sentence-transformers or as a sequence classifier.

    Scores are compared with ours before anything is written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out}: there is something already; name a new folder")
    from rankrag.contract import by_labels, save_contract
    from rankrag.models.mini import resolve_model
    from rankrag.models.transformers import TransformersModel

    opened = TransformersModel(resolve_model(model, say), device="cpu", dtype=dtype)
    opened.contract = by_labels(opened.contract)  # other programs compute all layers
    if to == "sentence-transformers":
        from rankrag.export.cross_encoder import export_cross_encoder as write
    else:
        from rankrag.export.classifier import export_classifier as write
    apart = write(opened, out)
    save_contract(opened.contract, out)
    say(f"{out}: a {to} export whose log-odds differ from ours by at most {apart:.1e} on the pairs of its check.")
