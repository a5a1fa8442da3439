"""`rankrag blend`, `rankrag train` and `rankrag push`: from data to a checkpoint with its contract."""

from __future__ import annotations

import os
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
    estimate: Annotated[bool, typer.Option("--estimate", help="Only print what memory and time it will take.")] = False,
    devices: Annotated[int, typer.Option(min=1, help="Devices that --estimate counts with.")] = 1,
    tflops: Annotated[float, typer.Option(min=0.001, help="Peak rate of one (A100: 312), for --estimate.")] = 312.0,
    example_tokens: Annotated[
        int | None, typer.Option(min=1, help="Mean length of an example, for --estimate; by default the longest.")
    ] = None,
) -> None:
    """Train one stage: a whole model or an adapter, on a blend.

    A killed run goes on from its newest checkpoint. For several GPUs: torchrun --nproc-per-node 8 -m rankrag train …
    """
    from rankrag.config import TrainConfig, load_config

    wanted = load_config(TrainConfig, config, tuple(set_ or ()))
    if estimate:
        from rankrag.training.estimate import estimate_lines

        for line in estimate_lines(wanted, devices=devices, tflops=tflops, example_tokens=example_tokens):
            print(line)
        return
    from rankrag.training.run import train as run

    with ExitStack() as stack:
        bars: list[Callable[[int], None]] = []

        def report(done: int, total: int) -> None:
            if not bars:  # the total is known only after the blend is read
                bars.append(stack.enter_context(options.progress_bar("training", total, unit="steps")))
            bars[0](done)

        result = run(wanted, resume=not fresh, say=say, report=report)
    if os.environ.get("RANK", "0") == "0":  # the first of a torchrun's processes speaks for all
        say(f"The result is in {result}.")


def push(
    run: Annotated[Path, typer.Argument(help="Run folder of `rankrag train`.")],
    hub_id: Annotated[str, typer.Argument(help="owner/name on the Hugging Face hub.")],
    *,
    adapter: Annotated[bool, typer.Option("--adapter", help="The adapter, not the merged model.")] = False,
    public: Annotated[bool, typer.Option("--public", help="For everyone to see.")] = False,
) -> None:
    """Upload the model of a finished run, with its contract and its card."""
    from rankrag.training.push import push_run

    say(f"Uploaded to {push_run(run, hub_id, adapter=adapter, private=not public)}")
