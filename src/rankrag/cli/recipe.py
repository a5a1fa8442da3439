"""`rankrag blend`, `rankrag train` and `rankrag fit`: from data to a checkpoint with its contract."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from rankrag.cli import options
from rankrag.cli.options import say

ConfigFile = Annotated[Path, typer.Argument(help="YAML file; its keys are in docs/configuration.md.")]


def blend(
    config: ConfigFile,
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the examples and their manifest.")],
    set_: options.Set = None,
) -> None:
    """Build the training blend."""
    from rankrag.blend.mixture import build_blend
    from rankrag.config import BlendConfig, load_config

    manifest = build_blend(load_config(BlendConfig, config, tuple(set_ or ())), out, say)
    say(f"{manifest['examples']} examples in {out}, sha256 {str(manifest['sha256'])[:16]}.")


def train(
    config: ConfigFile,
    *,
    set_: options.Set = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew instead of at the newest checkpoint.")] = False,
) -> None:
    """Train one stage: a whole model or an adapter, on a blend.

    A killed run goes on from its newest checkpoint. For several GPUs: torchrun --nproc-per-node 8 -m rankrag train …
    """
    from rankrag.config import TrainConfig, load_config
    from rankrag.training.run import train as run

    wanted = load_config(TrainConfig, config, tuple(set_ or ()))
    with ExitStack() as stack:
        bars: list[Callable[[int], None]] = []

        def report(done: int, total: int) -> None:
            if not bars:  # the total is known only after the blend is read
                bars.append(stack.enter_context(options.progress_bar("training", total, unit="steps")))
            bars[0](done)

        result = run(wanted, resume=not fresh, say=say, report=report)
    say(f"The result is in {result}.")
