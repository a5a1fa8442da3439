"""`rankrag export`: a model in the form of another program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from rankrag.cli import options
from rankrag.cli.options import say
from rankrag.config.answering import AskConfig
from rankrag.contract import save_contract
from rankrag.errors import ConfigError
from rankrag.models.prepared import resolve_model

Target = Literal["sentence-transformers", "sequence-classifier", "gguf"]
Weights = Literal["f32", "f16", "q8_0", "q4_0"]


@options.with_options(AskConfig, "model", "dtype", model="rankrag-mini", dtype="float32")
def export(
    *,
    to: Annotated[Target, typer.Option("--to", help="What shall load it.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the export; must not exist, or be empty.")],
    weights: Annotated[
        Weights | None, typer.Option(help="Number type in a gguf file: f16 (default), q8_0, q4_0 or f32.")
    ] = None,
    given: options.Given,
) -> None:
    """Write a model for sentence-transformers or llama.cpp, or as a sequence classifier.

    Scores are compared with ours before anything is written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out}: there is something already; name a new folder")
    if weights is not None and to != "gguf":
        raise ConfigError(f"--weights {weights}: {to} takes none; --dtype sets its number type")
    here = options.model_here(given["model"], "an export is made of weights; name their directory")
    from rankrag.export.classifier import export_classifier  # each takes seconds to import
    from rankrag.export.cross_encoder import export_cross_encoder
    from rankrag.export.gguf import export_gguf
    from rankrag.models.transformers import TransformersModel

    opened = TransformersModel(resolve_model(here, say), device="cpu", dtype=given["dtype"])
    if to == "gguf":
        apart = export_gguf(opened, out, weights or "f16")
    else:
        write = export_cross_encoder if to == "sentence-transformers" else export_classifier
        apart = write(opened, out)
    save_contract(opened.contract, out)
    say(f"{out}: a {to} export whose log-odds differ from ours by at most {apart:.1e} on the pairs of its check.")
