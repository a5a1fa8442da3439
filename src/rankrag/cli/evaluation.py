"""`rankrag evaluate`: figures of first stages, reranking, answers and refusals."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankrag.cli import options
from rankrag.cli.options import say
from rankrag.errors import ConfigError

if TYPE_CHECKING:
    from rankrag.contract import ScoreType
    from rankrag.evaluation.summary import ExampleFigures
    from rankrag.models import Form, LanguageModel
    from rankrag.retrieval.encoder import Encoder

Sets = Annotated[
    list[str] | None,
    typer.Option("--set", help="A set to measure, by default all; with CONFIG key=value over the file's. Often."),
]
ConfigFile = Annotated[
    Path | None, typer.Argument(help="YAML file of systems to compare, such as configs/eval/mini.yaml.")
]
FirstStages = Annotated[
    list[str] | None,
    typer.Option("--retriever", "-r", help="A first stage, by default all three; may be given often."),
]
Sample = Annotated[int | None, typer.Option(min=0, help="Questions of a set that the model sees; 0 is all of them.")]
Report = Annotated[Path | None, typer.Option(help="Where the tables go, such as docs/results.md.")]
Listed = Annotated[bool, typer.Option("--list", help="List the sets, where each comes from, and what is at hand.")]
Fetched = Annotated[bool, typer.Option("--fetch", help="First get the questions of the named sets from the hub.")]
Examples = Annotated[Path | None, typer.Option(help="Folder with corpus/ and questions.jsonl, measured as well.")]
Freeze = Annotated[
    Path | None,
    typer.Option(help="Keep what the one --retriever finds, with its passages, in runs/ of this folder; docs/data.md."),
]


def evaluate(
    config: ConfigFile = None,
    *,
    data: options.Data = None,
    out: options.RunFolder = Path("runs/results"),
    set_: Sets = None,
    retriever: FirstStages = None,
    n: options.N = 20,
    k: options.K = None,
    sample: Sample = None,
    seed: int = 0,
    no_model: Annotated[bool, typer.Option("--no-model", help="Measure first stages only.")] = False,
    list_: Listed = False,
    fetch: Fetched = False,
    examples: Examples = None,
    freeze: Freeze = None,
    report: Report = None,
    score: options.Score = None,
    model: options.Model = "rankrag-mini",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    state_cache: options.StateCacheName = "memory",
    state_form: options.StateForm = None,
    encoder: options.EncoderDir = None,
) -> None:
    """Measure first stages, reranking, answers and refusals; with CONFIG, compare several systems.

    With CONFIG, only --set and --report are used beside it; `rankrag report` and `rankrag paper` take its run folder.

    Work that is done is kept in the run folder question by question, so a killed run goes on where it stopped.
    """
    from rankrag.contract import Contract
    from rankrag.data.catalogue import BENCHMARKS
    from rankrag.data.listing import listing
    from rankrag.evaluation.first_stage import ALL_RETRIEVERS
    from rankrag.evaluation.report import render
    from rankrag.evaluation.run import evaluate as run
    from rankrag.retrieval.encoder import Encoder

    if list_:
        print("\n".join(listing(list(BENCHMARKS.values()), data)))
        return
    if config is not None:
        _compare(config, tuple(set_ or ()), report)
        return
    if data is None:
        raise ConfigError("no data: pass --data FOLDER, or set RANKRAG_DATA to the folder of the data sets")
    unknown = sorted(set(retriever or ()) - set(ALL_RETRIEVERS))
    if unknown:
        raise ConfigError(f"--retriever {unknown[0]}: choose {', '.join(ALL_RETRIEVERS)}")
    if freeze and len(retriever or ()) != 1:
        raise ConfigError("--freeze keeps one first stage; name it with --retriever")
    if fetch:
        _fetch(set_ or (), data)
    vectors = Encoder(encoder)
    opened = None if no_model else _opened(model, device, dtype, score, state_cache, state_form)
    shown = None
    depth = (opened[0].contract if opened else Contract()).depth(n, k)
    with options.step_lines() as step:
        if examples and opened:
            shown = _examples(examples, out, opened[0], opened[1], vectors, n, depth)
        summary = run(
            data,
            out,
            model=opened[0] if opened else None,
            model_name=opened[1] if opened else "",
            encoder=vectors,
            benchmarks=tuple(set_) if set_ else None,
            retrievers=tuple(name for name in ALL_RETRIEVERS if not retriever or name in retriever),
            n=n,
            k=depth,
            sample=sample,
            seed=seed,
            command=shlex.join(["rankrag", *sys.argv[1:]]),
            machine=machine(),
            examples=shown,
            freeze_in=freeze,
            progress=step,
            say=say,
        )
    if opened:
        options.say_state_use(opened[0])
    _show(render(summary), report, out)


def _compare(path: Path, overrides: tuple[str, ...], report: Path | None) -> None:
    """Compare the systems of a configuration."""
    from rankrag.config import ComparisonConfig
    from rankrag.config_files import load_config
    from rankrag.data.catalogue import own_set
    from rankrag.evaluation.compare import compare
    from rankrag.evaluation.comparison_report import render_comparison
    from rankrag.evaluation.first_stage import VECTORS
    from rankrag.evaluation.systems import System

    wanted = load_config(ComparisonConfig, path, overrides)
    own = dict.fromkeys(VECTORS, wanted.encoder)
    systems = tuple(
        System(**of.model_dump() | {"encoder": of.encoder or own.get(of.retriever)}) for of in wanted.systems
    )
    out = Path(wanted.out)
    with options.step_lines() as step:
        comparison = compare(
            Path(wanted.data),
            out,
            systems,
            open_model=lambda name: _opened(name, wanted.device, wanted.dtype, state_cache=wanted.state_cache),
            benchmarks=[of if isinstance(of, str) else own_set(of) for of in wanted.sets] or None,
            sample=wanted.sample,
            seed=wanted.seed,
            history=wanted.history_query,
            command=shlex.join(["rankrag", *sys.argv[1:]]),
            machine=machine(),
            progress=step,
            say=say,
        )
    _show(render_comparison(comparison), report, out)


def _show(text: str, report: Path | None, out: Path) -> None:
    """Write the tables where they are wanted, else print them."""
    if report is None:
        print(text)
        return
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(text, encoding="utf-8")
    say(f"The tables are in {report}, the figures in {out}.")


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
    from rankrag.data.catalogue import BENCHMARKS
    from rankrag.data.load import fetch

    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown or not names:
        raise ConfigError(f"--fetch {', '.join(unknown)}: name the sets with --set; they are {', '.join(BENCHMARKS)}")
    for name in names:
        say(f"{name}: its questions are in {fetch(BENCHMARKS[name], data)}")


def _opened(
    model: str,
    device: str,
    dtype: str,
    score: ScoreType | None = None,
    state_cache: str = "off",
    state_form: Form | None = None,
) -> tuple[LanguageModel, str]:
    """Return the model and the directory of its weights."""
    from rankrag.models.prepared import resolve_model
    from rankrag.opening import open_model

    directory = resolve_model(model, say)
    opened = open_model(
        directory, device=device, dtype=dtype, score=score, state_cache=state_cache, state_form=state_form, say=say
    )
    return opened, directory


def _examples(
    folder: Path, out: Path, model: LanguageModel, name: str, encoder: Encoder, n: int, k: int
) -> ExampleFigures:
    from rankrag.documents.indexing import bring_up_to_date
    from rankrag.evaluation.examples import examples_check
    from rankrag.opening import load
    from rankrag.retrieval.store import PassageStore

    index = out / "indexes" / "examples"
    store = PassageStore.create_or_open(index)
    bring_up_to_date(store, [folder / "corpus"])
    store.fill_vectors(encoder)
    rag = load(index, model=model, n=n, k=k, encoder=encoder)
    return examples_check(rag, folder / "questions.jsonl", model_name=name, journal=out / "examples.jsonl")
