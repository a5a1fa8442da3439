"""`rankrag blend`, `train`, `fit` and `push`: from data to a checkpoint with its contract."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
import yaml

from rankrag import opening
from rankrag.blend.mixture import build_blend
from rankrag.blend.plan import plan_lines
from rankrag.cli import options
from rankrag.cli.options import say
from rankrag.cli.written import with_own_documents, with_replies
from rankrag.cluster.model import cluster_opener
from rankrag.config.answering import AskConfig
from rankrag.config.blend import BlendConfig
from rankrag.config.schema import load_config
from rankrag.config.training import TrainConfig
from rankrag.contract import Contract, save_contract
from rankrag.data.files import write_whole
from rankrag.errors import ConfigError
from rankrag.fitting import fit as fitting
from rankrag.models import LanguageModel
from rankrag.models.family import FAMILY, base_of
from rankrag.models.prepared import resolve_model
from rankrag.retrieval.encoder import Encoder

Fitted = Annotated[
    Path | None,
    typer.Option(exists=True, file_okay=False, writable=True, help="Checkpoint whose contract gets the fitted values."),
]
WeightedSources = Annotated[
    list[str] | None, typer.Option(help="Source to fit on, or NAME=WEIGHT (repeatable; default: `fit` in CONFIG).")
]
TrainedOn = Annotated[
    list[Path] | None,
    typer.Option(
        help="Blend that the model was trained on (repeatable). Its questions are left out, so that "
        "`--set held_back=…` may hold out more."
    ),
]
RunFolder = Annotated[Path, typer.Option("--out", "-o", help="Run folder; what it holds is not done again.")]
OwnIndex = Annotated[
    str | None,
    options.index_option("--from-index", text="Index (folder or address) whose passages a model asks questions about."),
]
NoVectors = Annotated[
    bool, typer.Option("--no-vectors", help="Find candidates by BM25 alone and order them by the model alone.")
]
ConfigFile = Annotated[Path, typer.Argument(help="YAML file; its keys are in docs/configuration.md.")]


@options.with_options(AskConfig, "device", "dtype", "encoder", "ray", device="auto", dtype="auto")
def blend(
    config: Annotated[
        Path | None, typer.Argument(help="YAML file; its keys are in docs/configuration.md.", show_default=False)
    ] = None,
    *,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the examples and their manifest.")] = None,
    from_index: OwnIndex = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", help="Writes and answers them; by default rankrag-mini's base and it."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print parts, rows and shares; write nothing.")] = False,
    set_: options.Set = None,
    given: options.Given,
) -> None:
    """Build the training blend, from data sets, from your own documents, or from both.

    A killed run goes on with the sources that are done.
    """
    if not (config or from_index):
        raise ConfigError("blend takes a configuration, or --from-index INDEX; see rankrag blend --help")
    own = {"writing.index": from_index, "writing.model": model}
    defaults = {} if config else {"data": str(out or ".")}  # else asked of the environment
    wanted = load_config(BlendConfig, config, set_ or (), options=own, defaults=defaults)
    if dry_run:
        if wanted.writing:
            raise ConfigError("--dry-run counts rows that are there; questions of an index are still to be written")
        with options.step_lines(passing=True) as step:
            lines = plan_lines(wanted, say, step)
        print("\n".join(lines))
        return
    if out is None:
        raise ConfigError("--out is missing: name the folder for the examples, or ask for a --dry-run")
    opened = _opener(given)
    if wanted.teacher:
        wanted = with_replies(wanted, opened(wanted.teacher), out)
    if wanted.writing:
        wanted = with_own_documents(wanted, wanted.writing, out, opened, given.get("encoder"))
    with options.step_lines(passing=True) as step:
        manifest = build_blend(wanted, out, say, step)
    say(f"{manifest['examples']} examples in {out}, sha256 {str(manifest['sha256'])[:16]}.")


def _opener(given: options.Given) -> Callable[[str], LanguageModel]:
    """Return what opens a model by name, in this process or on a cluster."""
    machine = {key: given[key] for key in ("device", "dtype")}
    if "ray" in given:
        return cluster_opener(given["ray"], **machine, say=say)
    return partial(opening.open_model, **machine, say=say)


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
    wanted = load_config(TrainConfig, config, tuple(set_ or ()))
    if estimate:
        from rankrag.training.estimate import estimate_lines

        for line in estimate_lines(wanted, devices=devices, tflops=tflops, example_tokens=example_tokens):
            print(line)
        return
    from rankrag.training.run import train as run

    shows_bar = sys.stderr.isatty()
    with options.step_lines() as step:
        report = partial(step, "Training") if shows_bar else lambda _, __: None
        lines = (lambda _: None) if shows_bar else say
        result = run(wanted, resume=not fresh, say=say, report=report, say_steps=lines)
    if os.environ.get("RANK", "0") == "0":  # the first of a torchrun's processes speaks for all
        say(f"The result is in {result}.")


@options.with_options(
    AskConfig, "model", "device", "dtype", "encoder", model="rankrag-mini", device="auto", dtype="auto"
)
def fit(
    config: Annotated[Path | None, typer.Argument(help="YAML file of the blend that the model was trained on.")] = None,
    *,
    from_index: OwnIndex = None,
    out: RunFolder = Path("runs/fit"),
    save: Fitted = None,
    source: WeightedSources = None,
    unseen: TrainedOn = None,
    questions: Annotated[int, typer.Option(min=1, help="Held-out questions per source, at most.")] = 60,
    answers: Annotated[int, typer.Option(min=0, help="Questions per source that are answered to choose k.")] = 30,
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="Candidates of each first stage.")] = 20,
    seed: int = 0,
    no_vectors: NoVectors = False,
    set_: options.Set = None,
    given: options.Given,
) -> None:
    """Fit thresholds and weights on held-out training data, or on your own documents.

    Sets the weight of the encoder's cosine in the final order, the threshold below which answers are withheld, the
    bound at which judging may stop, the turns that conversations are searched by, and k. Without --save the values are
    only printed. With --from-index, ask.yaml of the run folder has threshold and k for `rankrag ask --config`.
    """
    opened, model, encoder = _opener(given), given["model"], given.get("encoder")
    wanted = _to_fit_to(config, from_index, out, model, questions, set_ or ())
    if from_index and wanted.writing:
        written = with_own_documents(wanted, wanted.writing, out, opened, encoder)
        wanted = written.model_copy(update={"held_back": 1.0})  # nothing is trained on these questions
    directory = resolve_model(model, say)
    with options.step_lines() as step:
        contract, report = fitting.fit(
            wanted,
            out,
            opened(directory),
            model_name=directory,
            encoder=None if no_vectors else Encoder(encoder),
            sources=dict(map(_weighted, source or ())),
            blends=unseen or (),
            size=fitting.FitSize(n, questions, answers, seed),
            progress=step,
        )
    _write_fitted(contract, report, out, model if from_index else "", save)


def _write_fitted(contract: Contract, report: fitting.FitReport, out: Path, model: str, save: Path | None) -> None:
    """Print and keep what was fitted; with a model's name also as settings for `rankrag ask`."""
    write_whole(out / "fit.json", json.dumps(asdict(report), indent=1) + "\n")
    fitted = ("similarity_weight", "abstain_below", "settled_from")
    print(json.dumps({name: getattr(contract, name) for name in (*fitted, "history_query", "k")}))
    if model:
        below = "never" if contract.abstain_below is None else contract.abstain_below
        settings = {"model": model, "abstain_below": below, "k": contract.k}
        write_whole(out / "ask.yaml", yaml.safe_dump(settings, sort_keys=False))
        say(f"To answer with these values, add --config {out / 'ask.yaml'} to rankrag ask or chat.")
    if save:
        save_contract(contract, save)
        say(f"Saved in {save}; how they were found is in {out / 'fit.json'}.")


def _to_fit_to(
    config: Path | None, index: str | None, out: Path, model: str, questions: int, changes: Sequence[str]
) -> BlendConfig:
    """Return a blend's configuration; for an index only questions about it, best written by the model's own base."""
    if (config is None) == (index is None):
        raise ConfigError("fit takes the configuration of a blend, or --from-index INDEX; see rankrag fit --help")
    if index is None:
        return load_config(BlendConfig, config, changes)
    writer = base_of(model).name if model in FAMILY else model
    asked = {"index": index, "model": writer, "passages": questions, "questions": 1}
    return load_config(BlendConfig, None, changes, defaults={"data": str(out), "writing": asked})


def _weighted(source: str) -> tuple[str, float]:
    name, _, weight = source.partition("=")
    try:
        return name, float(weight or 1.0)
    except ValueError:
        raise ConfigError(f"--source {source}: must read NAME or NAME=WEIGHT, such as squad=2") from None


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
