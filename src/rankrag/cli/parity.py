"""`rankrag parity`: whether every path of a model gives the same scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankrag.cli import options
from rankrag.cli.options import say
from rankrag.config.answering import AskConfig
from rankrag.data.runs import read_candidates
from rankrag.models.prepared import resolve_model
from rankrag.opening import open_server

if TYPE_CHECKING:
    from rankrag.parity.compare import Parity

Candidates = Annotated[
    Path | None, typer.Option(help="Questions with candidates of their own; by default a small set that is shipped.")
]


@options.with_options(AskConfig, "model", "device", "dtype", model="rankrag-mini", device="cpu", dtype="float32")
def parity(
    *,
    candidates: Candidates = None,
    tolerance: Annotated[
        float | None, typer.Option(min=0.0, help="How far an exact path may be off; by default 1e-4, in 16 bits 1.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="Compare a server of this model, too; its tokenizer is --model's by default.")
    ] = None,
    against_tolerance: Annotated[float, typer.Option(min=0.0, help="How far the server may be off.")] = 1.0,
    given: options.Given,
) -> None:
    """Compare the scores of all paths with one pair at a time.

    Exit code 1 when an exact path is off, or when fewer than five paths could be compared.
    """
    here = options.model_here(
        given["model"], "parity runs a model in this process; name its directory, and --against ADDRESS"
    )
    from rankrag.models.transformers import TransformersModel  # seconds, which a mistake should not take
    from rankrag.parity.compare import PAIRS, compare
    from rankrag.parity.paths import of_server

    pairs = list(read_candidates(candidates or PAIRS))
    served = [of_server(open_server(against, directory=here, say=say), against_tolerance)] if against else []
    opened = TransformersModel(resolve_model(here, say), device=given["device"], dtype=given["dtype"])
    found = compare(opened, pairs, tolerance=tolerance, more=served)
    _print(found)
    if not found.holds:
        raise typer.Exit(1)


def _print(found: Parity) -> None:
    from rankrag.parity.compare import FEWEST_PATHS

    print(f"{found.pairs} pairs; the reference's log-odds spread over {found.spread:.2f}")
    print(f"{'path':26} {'max |Δ log-odds|':>17} {'max |Δ log P(True)|':>20} {'mean τ-b':>9}  first other token")
    print(f"{'one pair at a time':26} {'reference':>17} {'':>20} {'':>9}")
    for path in found.paths:
        verdict = "" if path.agrees else "  OFF" if path.exact else "  (not exact)"
        figures = f"{path.log_odds:17.2e} {path.log_true:20.2e} {path.tau:9.4f}"
        print(f"{path.name:26} {figures}  {path.differs or 'none'}{verdict}")
    if len(found.paths) + 1 < FEWEST_PATHS:
        print(f"{len(found.paths) + 1} paths were compared, {FEWEST_PATHS} are needed to say that scores are the same")
    for limit in sorted({path.tolerance for path in found.off}):
        print(f"off by more than {limit:g}: {', '.join(path.name for path in found.off if path.tolerance == limit)}")
    if not found.off:
        limits = sorted({found.tolerance, *(path.tolerance for path in found.paths if path.exact)})
        print(f"exact paths agree within {', '.join(f'{limit:g}' for limit in limits)}")
