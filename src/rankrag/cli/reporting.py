"""`rankrag report`: what a run found, as Markdown and as a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rankrag.cli.options import say


def report(
    run: Annotated[Path, typer.Argument(help="Run folder of `rankrag evaluate`.")],
    *,
    markdown: Annotated[Path | None, typer.Option(help="Where the tables go as Markdown.")] = None,
    html: Annotated[Path | None, typer.Option(help="Where the page goes: tables, plots and every question.")] = None,
) -> None:
    """Make the report of a run from its lines: Markdown, and one HTML file that works without a server.

    Without --markdown and --html, the Markdown is printed.
    """
    from rankrag.evaluation.aggregate import read_results
    from rankrag.evaluation.page import write_page
    from rankrag.evaluation.report import render_report

    found = read_results(run)
    if html is not None:
        say(f"The page is {write_page(found, html)}.")
    if markdown is not None:
        markdown.parent.mkdir(parents=True, exist_ok=True)
        markdown.write_text(render_report(found), encoding="utf-8")
        say(f"The tables are in {markdown}.")
    if html is None and markdown is None:
        print(render_report(found), end="")
