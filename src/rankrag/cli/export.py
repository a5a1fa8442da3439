"""`rankrag export`: a model in the form of another program."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rankrag.cli import options
from rankrag.cli.options import say
from rankrag.errors import ConfigError

if TYPE_CHECKING:
    from rankrag.models.transformers import TransformersModel

Target = Literal["sentence-transformers", "sequence-classifier", "gguf"]
Weights = Literal["f32", "f16", "q8_0", "q4_0"]


def export(
    *,
    to: Annotated[Target, typer.Option("--to", help="What shall load it.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the export; must not exist, or be empty.")],
    model: options.Model = "rankrag-mini",
    dtype: options.Dtype = "float32",
    weights: Annotated[
        Weights | None, typer.Option(help="Number type in a gguf file: f16 (default), q8_0, q4_0 or f32.")
    ] = None,
) -> None:
    """Write a model for sentence-transformers or llama.cpp, or as a sequence classifier.

    Scores are compared with ours before anything is written.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigError(f"--out {out}: there is something already; name a new folder")
    from rankrag.contract import save_contract
    from rankrag.models.prepared import resolve_model
    from rankrag.models.transformers import TransformersModel

    here = options.model_here(model, "an export is made of weights; name their directory")
    write = _writer(to, weights)
    opened = TransformersModel(resolve_model(here, say), device="cpu", dtype=dtype)
    apart = write(opened, out)
    save_contract(opened.contract, out)
    say(f"{out}: a {to} export whose log-odds differ from ours by at most {apart:.1e} on the pairs of its check.")


def _writer(to: Target, weights: Weights | None) -> Callable[[TransformersModel, Path], float]:
    if to == "gguf":
        from rankrag.export.gguf import export_gguf

        return partial(export_gguf, weights=weights or "f16")
    if weights is not None:
        raise ConfigError(f"--weights {weights}: {to} takes none; --dtype sets its number type")
    if to == "sentence-transformers":
        from rankrag.export.cross_encoder import export_cross_encoder

        return export_cross_encoder
    from rankrag.export.classifier import export_classifier

    return export_classifier
