"""`rankrag report` and `rankrag paper`: what runs found, as pages, and beside the paper's tables and figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankrag.cli.options import say
from rankrag.errors import ConfigError

if TYPE_CHECKING:
    from rankrag.evaluation.aggregate import Evaluation

Runs = Annotated[list[Path] | None, typer.Option("--run", help="Run folder of `rankrag evaluate`; may be given often.")]


def report(
    run: Annotated[Path, typer.Argument(help="Run folder of `rankrag evaluate`.")],
    *,
    markdown: Annotated[Path | None, typer.Option(help="Where the tables go as Markdown.")] = None,
    html: Annotated[Path | None, typer.Option(help="Where the page goes: tables, plots and every question.")] = None,
) -> None:
    """Make the report of a run from its lines: Markdown, and one HTML file that works without a server.

    Without --markdown and --html, the Markdown is printed.
    """
    from rankrag.evaluation.page import write_page
    from rankrag.evaluation.report import render

    found = _evaluation(run)
    if html is not None:
        say(f"The page is {write_page(found, html)}.")
    if markdown is not None:
        markdown.parent.mkdir(parents=True, exist_ok=True)
        markdown.write_text(render(found), encoding="utf-8")
        say(f"The tables are in {markdown}.")
    if html is None and markdown is None:
        print(render(found), end="")


def paper(
    name: Annotated[str | None, typer.Argument(help="table2, …, figure1, …; without it, all are listed.")] = None,
    *,
    run: Runs = None,
    plot: Annotated[Path | None, typer.Option(help="File of a figure's plot: .svg, .png or .pdf.")] = None,
) -> None:
    """Print a table or figure of the paper, with our numbers beside it where a run has them."""
    from rankrag.evaluation.beside import render_table
    from rankrag.evaluation.figures import plot_figure, render_figure, series_of
    from rankrag.evaluation.paper import paper_numbers

    numbers = paper_numbers()
    if name is None:
        for key, of in numbers.tables.items():
            print(f"{key:10}{of.cell}: {of.title}")
        for key, figure in numbers.figures.items():
            print(f"{key:10}{figure.cell}: {figure.title}")
        return
    found = [_evaluation(folder) for folder in run or ()]
    if name not in numbers.figures:
        if plot is not None:
            raise ConfigError(f"--plot: only figures have one ({', '.join(numbers.figures)})")
        print(render_table(name, found), end="")
        return
    series = series_of(name, found)
    print(render_figure(name, series), end="")
    if plot is not None:
        say(f"The plot is {plot_figure(name, series, plot)}.")


def _evaluation(run: Path) -> Evaluation:
    from rankrag.evaluation.aggregate import read_evaluation

    return read_evaluation(run)
