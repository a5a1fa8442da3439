"""`rankrag evaluate` and `rankrag fit`: figures, and the values that are fitted before them."""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rankrag.cli import options
from rankrag.cli.options import say
from rankrag.errors import ConfigError

if TYPE_CHECKING:
    from rankrag.evaluation.summary import ExampleFigures
    from rankrag.models import Form, LanguageModel
    from rankrag.retrieval.dense import Encoder

Data = Annotated[Path | None, typer.Option(envvar="RANKRAG_DATA", help="Folder of the data sets; docs/data.md.")]
RunFolder = Annotated[Path, typer.Option("--out", "-o", help="Run folder; what it holds is not done again.")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="A set to measure, by default all; may be given often.")]
FirstStages = Annotated[
    list[str] | None,
    typer.Option("--retriever", "-r", help="A first stage, by default all three; may be given often."),
]
Sample = Annotated[int | None, typer.Option(min=0, help="Questions of a set that the model sees; 0 is all of them.")]
Report = Annotated[Path | None, typer.Option(help="Where the tables go, such as docs/results.md.")]
Examples = Annotated[Path | None, typer.Option(help="Folder with corpus/ and questions.jsonl, measured as well.")]


def evaluate(
    *,
    data: Data = None,
    out: RunFolder = Path("runs/results"),
    set_: Sets = None,
    retriever: FirstStages = None,
    n: options.N = 20,
    k: options.K = 5,
    sample: Sample = None,
    seed: int = 0,
    no_model: Annotated[bool, typer.Option("--no-model", help="Measure first stages only.")] = False,
    examples: Examples = None,
    report: Report = None,
    model: options.Model = "rankrag-mini",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    state_cache: options.StateCacheName = "memory",
    state_form: options.StateForm = None,
    encoder: options.EncoderDir = None,
) -> None:
    """Measure first stages, reranking, answers and refusals.

    Work that is done is kept in the run folder question by question, so a killed run goes on where it stopped.
    """
    from rankrag.evaluation.benchmarks import BENCHMARKS
    from rankrag.evaluation.report import render
    from rankrag.evaluation.run import ALL_RETRIEVERS
    from rankrag.evaluation.run import evaluate as run
    from rankrag.retrieval.dense import Encoder

    if data is None:
        raise ConfigError("no data: pass --data FOLDER, or set RANKRAG_DATA to the folder of the data sets")
    unknown = sorted(set(retriever or ()) - set(ALL_RETRIEVERS))
    if unknown:
        raise ConfigError(f"--retriever {unknown[0]}: choose {', '.join(ALL_RETRIEVERS)}")
    vectors = Encoder(encoder)
    opened = None if no_model else _opened(model, device, dtype, state_cache, state_form)
    shown = None
    with options.step_lines() as step:
        if examples and opened:
            shown = _examples(examples, out, opened[0], opened[1], vectors, n, k)
        summary = run(
            data,
            out,
            model=opened[0] if opened else None,
            model_name=opened[1] if opened else "",
            encoder=vectors,
            benchmarks=tuple(set_ or BENCHMARKS),
            retrievers=tuple(name for name in ALL_RETRIEVERS if not retriever or name in retriever),
            n=n,
            k=k,
            sample=sample,
            seed=seed,
            command=shlex.join(["rankrag", *sys.argv[1:]]),
            machine=machine(),
            examples=shown,
            progress=step,
        )
    if opened:
        options.say_state_use(opened[0])
    text = render(summary)
    if report:
        report.parent.mkdir(parents=True, exist_ok=True)
        report.write_text(text, encoding="utf-8")
        say(f"The tables are in {report}, the figures in {out / 'evaluation.json'}.")
    else:
        print(text)


def fit(
    config: Annotated[Path, typer.Argument(help="YAML file of the blend that the model was trained on.")],
    *,
    out: RunFolder = Path("runs/fit"),
    save: Annotated[Path | None, typer.Option(help="Checkpoint whose contract gets the fitted values.")] = None,
    source: Annotated[list[str] | None, typer.Option(help="A source to fit on; may be given often.")] = None,
    questions: Annotated[int, typer.Option(min=1, help="Held-back questions of one source, at most.")] = 60,
    n: options.N = 20,
    seed: int = 0,
    no_vectors: Annotated[bool, typer.Option("--no-vectors", help="Take candidates from BM25 alone.")] = False,
    model: options.Model = "rankrag-mini",
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    encoder: options.EncoderDir = None,
    set_: options.Set = None,
) -> None:
    """Fit thresholds and weights on held-back training data.

    Fitted are the share of the first stage in the final order, the log-odds below which no answer is given, and the
    turns by which conversations are searched. Without --save they are only printed.
    """
    from rankrag.config import BlendConfig, load_config
    from rankrag.contract import save_contract
    from rankrag.evaluation.fit import SOURCES, UNANSWERABLE
    from rankrag.evaluation.fit import fit as run
    from rankrag.evaluation.journal import write_whole
    from rankrag.retrieval.dense import Encoder

    wanted = load_config(BlendConfig, config, tuple(set_ or ()))
    opened, name = _opened(model, device, dtype)
    with options.step_lines() as step:
        contract, report = run(
            wanted,
            out,
            opened,
            model_name=name,
            encoder=None if no_vectors else Encoder(encoder),
            sources=tuple(source or SOURCES),
            unanswerable=None if source else UNANSWERABLE,
            n=n,
            questions=questions,
            seed=seed,
            progress=step,
        )
    write_whole(out / "fit.json", json.dumps(report.as_json(), indent=1) + "\n")
    values = {name: getattr(contract, name) for name in ("first_stage_weight", "abstain_below", "history_query")}
    print(json.dumps(values))
    if save:
        save_contract(contract, save)
        say(f"Saved in {save}; how they were found is in {out / 'fit.json'}.")


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


def _opened(
    model: str, device: str, dtype: str, state_cache: str = "off", state_form: Form | None = None
) -> tuple[LanguageModel, str]:
    """Return the model and the directory of its weights."""
    from rankrag.models.mini import resolve_model
    from rankrag.opening import open_model

    directory = resolve_model(model, say)
    opened = open_model(directory, device=device, dtype=dtype, state_cache=state_cache, state_form=state_form, say=say)
    return opened, directory


def _examples(
    folder: Path, out: Path, model: LanguageModel, name: str, encoder: Encoder, n: int, k: int
) -> ExampleFigures:
    from rankrag.cli.documents import bring_up_to_date
    from rankrag.evaluation.examples import examples_check
    from rankrag.opening import load
    from rankrag.retrieval.store import PassageStore

    index = out / "indexes" / "examples"
    store = PassageStore.create_or_open(index)
    bring_up_to_date(store, [folder / "corpus"])
    store.fill_vectors(encoder)
    rag = load(index, model=model, n=n, k=k, encoder=encoder)
    return examples_check(rag, folder / "questions.jsonl", model_name=name, journal=out / "examples.jsonl")
