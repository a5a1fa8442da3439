"""`rankrag ablate`: what each part of the recipe brings."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from rankrag.cli import options
from rankrag.cli.evaluation import Report, machine
from rankrag.cli.options import say
from rankrag.errors import ConfigError


def ablate(
    config: Annotated[Path, typer.Argument(help="YAML file; its keys are in docs/configuration.md.")],
    *,
    out: options.RunFolder = Path("runs/ablation"),
    row: Annotated[list[str] | None, typer.Option("--row", help="A row to run, by default all; any number.")] = None,
    table: Annotated[bool, typer.Option("--table", help="Run nothing, only make the page from what is there.")] = False,
    report: Report = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    set_: options.Set = None,
) -> None:
    """Train and test the rows of an ablation, and make the page that compares them.

    Work that is done is kept in the run folder, so a killed run goes on where it stopped; rows can be run one by one.
    """
    from rankrag.ablation.study import open_study
    from rankrag.config.ablation import AblationConfig
    from rankrag.config.schema import load_config
    from rankrag.data.files import write_whole

    study = open_study(load_config(AblationConfig, config, tuple(set_ or ())))
    rows = study.chosen(row or ())
    from rankrag.ablation.run import ablate as run
    from rankrag.ablation.run import page

    # not its --row: the page is of all rows, whichever call made them
    command = shlex.join(["rankrag", "ablate", str(config), *(part for key in set_ or () for part in ("--set", key))])

    def finished() -> None:
        if report:
            write_whole(report, page(study, out, command))

    if dtype == "int8":
        raise ConfigError("--dtype int8: rows are compared in the number type they were trained in; take another")
    if not table:
        with options.step_lines() as step:
            run(
                study,
                out,
                rows=rows,
                device=device,
                dtype=dtype,
                machine=machine(),
                say=say,
                progress=step,
                finished=finished,
            )
    if not report:
        print(page(study, out, command))
        return
    finished()
    say(f"The tables are in {report}.")
