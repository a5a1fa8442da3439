"""Print a table or figure of the paper, with our numbers beside it: `python -m experiments.paper table2 --run RUN`.

`beside` prints every figure of a run that the paper prints too. Without a name, all names are listed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from experiments.paper.beside import beside_section
from experiments.paper.figures import plot_figure, render_figure, series_of
from experiments.paper.numbers import paper_numbers
from experiments.paper.tables import render_table
from rankrag.errors import ConfigError, RankragError
from rankrag.evaluation.aggregate import read_results


def main(arguments: list[str] | None = None) -> None:
    """Print what the arguments ask for; an error is one line and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m experiments.paper", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("name", nargs="?", help="table2, …, figure1, …, beside")
    parser.add_argument("--run", type=Path, action="append", default=[], help="run folder of `rankrag evaluate`")
    parser.add_argument("--plot", type=Path, help="file for the plot of a figure: .svg, .png or .pdf")
    wanted = parser.parse_args(arguments)
    try:
        print(text_of(wanted.name, wanted.run, wanted.plot).rstrip("\n"))
    except RankragError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


def text_of(name: str | None, runs: list[Path], plot: Path | None) -> str:
    """Return what is printed; draw the plot of a figure if there is a file for it."""
    numbers = paper_numbers()
    if name is None:
        named = {key: f"{one.cell}: {one.title}" for key, one in numbers.tables.items()}
        named |= {key: f"{one.cell}: {one.title}" for key, one in numbers.figures.items()}
        return "\n".join(f"{key:10}{title}" for key, title in named.items())
    evaluations = [read_results(run) for run in runs]
    if plot is not None and name not in numbers.figures:
        raise ConfigError(f"--plot: only figures have one ({', '.join(numbers.figures)})")
    if name == "beside":
        return "\n\n".join(beside_section(evaluation) for evaluation in evaluations)
    if name not in numbers.figures:
        return render_table(name, evaluations)
    series = series_of(name, evaluations)
    if plot is not None:
        plot_figure(name, series, plot)
    return render_figure(name, series)


if __name__ == "__main__":
    main()
