"""Train and test the rows of an ablation: `python -m experiments.ablation configs/ablation/mini.yaml --report FILE`.

A killed run continues where it stopped. The page shows the rows of the latest call; to name finished rows again costs
next to nothing.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from experiments.ablation.report import render
from experiments.ablation.run import Lab
from experiments.ablation.study import AblationConfig, open_study
from rankrag.cli.evaluation import machine
from rankrag.cli.options import say, step_lines
from rankrag.config.schema import load_config
from rankrag.data.files import write_whole
from rankrag.errors import RankragError
from rankrag.evaluation.aggregate import read_results


def main(arguments: list[str] | None = None) -> None:
    """Run what the arguments ask for; an error is one line and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m experiments.ablation", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("config", type=Path, help="YAML file; its keys are in experiments/ablation/study.py")
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"), help="run folder")
    parser.add_argument("--row", action="append", default=[], help="row to run (repeatable; default: all)")
    parser.add_argument("--table", action="store_true", help="run nothing, only make the page from the run folder")
    parser.add_argument("--report", type=Path, help="file for the page; without it the page is printed")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16", "float16"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override a key of the file")
    try:
        _run(parser.parse_args(arguments))
    except RankragError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def _run(wanted: argparse.Namespace) -> None:
    study = open_study(load_config(AblationConfig, wanted.config, tuple(wanted.set)))
    rows = study.chosen(wanted.row)
    command = ["python", "-m", "experiments.ablation", str(wanted.config), *(f"--set={key}" for key in wanted.set)]
    with step_lines() as step:
        lab = Lab(study, wanted.out, device=wanted.device, dtype=wanted.dtype, say=say, progress=step)
        if not wanted.table:
            lab.run(rows, shlex.join(command), machine())
    found = read_results(wanted.out / "questions")
    page = render(study, found, lab.values(found))
    if wanted.report:
        write_whole(wanted.report, page)
        say(f"The tables are in {wanted.report}.")
    else:
        print(page)


if __name__ == "__main__":
    main()
