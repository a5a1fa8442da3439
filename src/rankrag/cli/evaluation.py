"""`rankrag evaluate` and `report`: systems on sets, question by question, and what a run found as pages."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from rankrag import opening
from rankrag.cli import options
from rankrag.cli.options import say
from rankrag.cluster.model import cluster_opener
from rankrag.config.evaluation import ComparisonConfig
from rankrag.config.schema import load_config
from rankrag.data import load
from rankrag.data.catalogue import BENCHMARKS
from rankrag.errors import ConfigError
from rankrag.evaluation.aggregate import read_results
from rankrag.evaluation.own_documents import own_documents
from rankrag.evaluation.page import write_page
from rankrag.evaluation.parts import Openers
from rankrag.evaluation.report import render_report
from rankrag.evaluation.run import Settings
from rankrag.evaluation.run import evaluate as run_evaluation
from rankrag.evaluation.standard import standard_systems
from rankrag.evaluation.systems import VECTORS, System
from rankrag.models import LanguageModel, prepared
from rankrag.retrieval.encoder import Encoder

Sets = Annotated[
    list[str] | None,
    typer.Option("--set", help="Set to measure (default: all), or key=value over CONFIG's (repeatable)."),
]
ConfigFile = Annotated[
    Path | None,
    typer.Argument(help="YAML file, such as configs/eval/mini.yaml; docs/configuration.md."),
]
FirstStages = Annotated[
    list[str] | None,
    typer.Option("--retriever", "-r", help="First stage: bm25, dense or hybrid (repeatable; default: all three)."),
]
Report = Annotated[Path | None, typer.Option(help="File for the tables, such as docs/results.md.")]
NoModel = Annotated[bool, typer.Option("--no-model", help="Measure first stages only.")]
Listed = Annotated[bool, typer.Option("--list", help="List the sets, where each comes from, and which are here.")]
Fetched = Annotated[bool, typer.Option("--fetch", help="First fetch the questions of the named sets from the hub.")]
Examples = Annotated[
    Path | None, typer.Option(help="Own documents: a folder with corpus/ and questions.jsonl, measured as well.")
]


@options.with_options(ComparisonConfig, "data", "out", "n", "k", "sample", "model", "device", "dtype", "ray")
def evaluate(
    config: ConfigFile = None,
    *,
    set_: Sets = None,
    retriever: FirstStages = None,
    no_model: NoModel = False,
    list_: Listed = False,
    fetch: Fetched = False,
    examples: Examples = None,
    report: Report = None,
    given: options.Given,
) -> None:
    """Measure retrieval, reranking, answers, citations and refusals; CONFIG may name systems of your own.

    Finished work is kept in the run folder, so that a killed run goes on where it stopped. `rankrag report` makes pages
    of a run folder.
    """
    data = given.get("data") or os.environ.get("RANKRAG_DATA")
    folder = Path(data) if data else None
    if list_:
        print("\n".join(load.set_listing(list(BENCHMARKS.values()), folder)))
        return
    names = tuple(one for one in set_ or () if "=" not in one)
    if folder is None and (fetch or (config is None and (examples is None or names))):
        raise ConfigError("no data: pass --data FOLDER, or set RANKRAG_DATA to the folder of the data sets")
    if fetch and folder is not None:
        _fetch(names, folder)
    given |= {"sets": names or None, "retrievers": retriever or None} | ({"model": "none"} if no_model else {})
    wanted = load_config(
        ComparisonConfig,
        config,
        [one for one in set_ or () if "=" in one],
        options=given,
        defaults={"data": ""} if config is None and folder is None else None,
    )
    _evaluate(wanted, examples, report)


def _evaluate(wanted: ComparisonConfig, examples: Path | None, report: Path | None) -> None:
    """Run the systems on the sets, and show the tables."""
    named = wanted.sets or (load.at_hand(Path(wanted.data)) if wanted.data else ())
    sets = [*named, *(own_documents(examples) if examples else ())]
    command = shlex.join(["rankrag", *sys.argv[1:]])
    settings = Settings(wanted.sample, wanted.seed, wanted.history_query, command, machine())
    out = Path(wanted.out)
    with options.step_lines() as step:
        openers, systems = _openers(wanted), _systems(wanted)
        found = run_evaluation(Path(wanted.data), out, systems, openers, settings, sets=sets, progress=step, say=say)
    _put(render_report(found), report)
    say(f"The lines of all questions are in {out}.")


def report(
    run: Annotated[Path, typer.Argument(help="Run folder of `rankrag evaluate`.")],
    *,
    markdown: Annotated[Path | None, typer.Option(help="Where the tables go as Markdown.")] = None,
    html: Annotated[Path | None, typer.Option(help="Where the page goes: tables, plots and every question.")] = None,
) -> None:
    """Make the report of a run from its lines: Markdown, and one HTML file that works without a server.

    Without --markdown and --html, the Markdown is printed.
    """
    found = read_results(run)
    if html is not None:
        say(f"The page is {write_page(found, html)}.")
    if html is None or markdown is not None:
        _put(render_report(found), markdown)


def _put(text: str, file: Path | None) -> None:
    """Write the tables into a file, or print them."""
    if file is None:
        print(text, end="")
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    say(f"The tables are in {file}.")


def _systems(wanted: ComparisonConfig) -> tuple[System, ...]:
    """Return the systems of a configuration, by default the built-in ones.

    Those that search by vectors get the run's encoder if they name none.
    """
    own = dict.fromkeys(VECTORS, wanted.encoder)
    return tuple(
        System(**(one.model_dump() | {"encoder": one.encoder or own.get(one.retriever)})) for one in wanted.systems
    ) or standard_systems(wanted)


def _openers(wanted: ComparisonConfig) -> Openers:
    """Return what opens the models and encoders of a run."""
    settings: dict[str, Any] = {"device": wanted.device, "dtype": wanted.dtype, "state_cache": wanted.state_cache}
    if wanted.ray is not None:
        everywhere = cluster_opener(wanted.ray, say=say, **settings)

    def opened(name: str) -> tuple[LanguageModel, str]:
        directory = prepared.resolve_model(name, say)
        return opening.open_model(directory, **settings, say=say) if wanted.ray is None else everywhere(name), directory

    return Openers(opened, lambda name: Encoder(name or wanted.encoder))


def machine() -> str:
    """Return the machine in words: processor, cores, accelerator."""
    import torch

    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    cores = f"{os.cpu_count()} cores of {name}"
    return f"{torch.cuda.get_device_name()} with {cores}" if torch.cuda.is_available() else cores


def _fetch(names: Sequence[str], data: Path) -> None:
    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown or not names:
        raise ConfigError(f"--fetch {', '.join(unknown)}: name the sets with --set; they are {', '.join(BENCHMARKS)}")
    for name in names:
        say(f"{name}: its questions are in {load.fetch(BENCHMARKS[name], data)}")
