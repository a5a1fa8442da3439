"""`rankrag blend`, `rankrag train` and `rankrag fit`: from data to a checkpoint with its contract."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankrag.cli import options
from rankrag.cli.options import say

ConfigFile = Annotated[Path, typer.Argument(help="YAML file; its keys are in docs/configuration.md.")]


def blend(
    config: ConfigFile,
    *,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the examples and their manifest.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print rows, tokens and shares beside the paper's; write nothing.")
    ] = False,
    licence: Annotated[
        str | None, typer.Option(help="`commercial` leaves out what forbids such use; `any` keeps all.")
    ] = None,
    set_: options.Set = None,
) -> None:
    """Build the training blend."""
    from rankrag.blend.dry_run import dry_run as estimated
    from rankrag.blend.dry_run import table
    from rankrag.blend.mixture import build_blend
    from rankrag.config import BlendConfig, load_config
    from rankrag.errors import ConfigError

    overrides = (*(set_ or ()), *([f"licence={licence}"] if licence else []))
    wanted = load_config(BlendConfig, config, overrides)
    if dry_run:
        for line in table(estimated(wanted, say), wanted):
            print(line)
        return
    if out is None:
        raise ConfigError("--out is missing: name the folder for the examples, or ask for a --dry-run")
    manifest = build_blend(wanted, out, say)
    say(f"{manifest['examples']} examples in {out}, sha256 {str(manifest['sha256'])[:16]}.")


def train(
    config: ConfigFile,
    *,
    set_: options.Set = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew instead of at the newest checkpoint.")] = False,
) -> None:
    """Train an adapter on a blend.

    A killed run goes on from its newest checkpoint.
    """
    from rankrag.config import TrainConfig, load_config
    from rankrag.models.mini import BASE_SHA256, MINI_BASE, resolve_model
    from rankrag.training.run import train as run

    wanted = load_config(TrainConfig, config, tuple(set_ or ()))
    base = Path(resolve_model(wanted.model, say))
    sha256 = BASE_SHA256 if wanted.model == MINI_BASE else ""
    adapter = run(wanted, base, base_sha256=sha256, resume=not fresh)
    say(f"The adapter is in {adapter}.")
