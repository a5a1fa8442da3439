"""Options that several commands share, and what they print while they work."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rankrag.errors import ConfigError

if TYPE_CHECKING:
    from rankrag.config.answering import AskConfig
    from rankrag.models import LanguageModel

DEFAULT_INDEX = "rankrag.index"
INDEX_HELP = "Folder of the index, postgresql://HOST/DATABASE/NAME or s3://BUCKET/NAME (docs/object-storage.md)."


def index_place(text: str) -> str:
    """Return where an index is; `ConfigError` for an address that holds a password, before anything repeats it."""
    from rankrag.retrieval.places import checked_place

    return checked_place(text)


Index = Annotated[str, typer.Option("--index", "-i", parser=index_place, metavar="INDEX", help=INDEX_HELP)]

# Where a model runs. A command with a settings file takes `…Choice`: None leaves the file's value as it is.

_MODEL = typer.Option(
    "--model",
    "-m",
    help="rankrag-mini (default), rankrag-small, rankrag-base, auto (the best of them for this machine), a model "
    "directory, a Hugging Face id, or the address of a server, such as "
    "http://HOST:PORT/v1?model=NAME#DIRECTORY (docs/backends.md).",
)
_DEVICE = typer.Option(help="auto, cpu, cuda, cuda:1, …; cuda:0,cuda:1 shares the work.")
_DTYPE = typer.Option(help="auto, float32, bfloat16 or float16.")
Model = Annotated[str, _MODEL]
ModelChoice = Annotated[str | None, _MODEL]
Device = Annotated[str, _DEVICE]
DeviceChoice = Annotated[str | None, _DEVICE]
Dtype = Annotated[str, _DTYPE]
DtypeChoice = Annotated[str | None, _DTYPE]


_RAY = typer.Option(
    metavar="CLUSTER",
    help="Let the workers of a Ray cluster do it: local, auto or HOST:PORT, with ?workers=4&cpus=8&gpus=1 "
    "(docs/cluster.md).",
)
Ray = Annotated[str | None, _RAY]

# How passages are found and how many are used.

_RETRIEVER = typer.Option("--retriever", "-r", help="First stage: hybrid (default), bm25 or dense.")
RetrieverName = Annotated[Literal["bm25", "dense", "hybrid"], _RETRIEVER]
RetrieverChoice = Annotated[Literal["bm25", "dense", "hybrid"] | None, _RETRIEVER]
EncoderDir = Annotated[
    Path | None,
    typer.Option(
        "--encoder",
        help="sentence-transformers directory, or dragon-plus, dragon-multiturn, dpr-nq, contriever-msmarco or medcpt "
        "from the hub; by default all-MiniLM-L6-v2.",
    ),
]
HistoryQueryName = Annotated[
    Literal["last", "all", "speakers", "both"] | None,
    typer.Option("--history-query", help="Turns of a conversation to search for; by default the last."),
]
NChoice = Annotated[int | None, typer.Option("--n", "-n", min=1, help="Passages to retrieve and rerank (default: 20).")]
K = Annotated[int | None, typer.Option("--k", "-k", min=1, help="Passages to answer from; by default the contract's.")]

# Settings.

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML file with more settings; docs/configuration.md.")
]
Set = Annotated[list[str] | None, typer.Option("--set", help="key=value, over the file's (repeatable).")]


def asked_for(
    file: Path | None, changes: list[str] | None, defaults: Mapping[str, object] | None = None, **options: object
) -> AskConfig:
    """Return the settings of a file, changed by `--set` and then by options; None is an option that was not given."""
    from rankrag.config.answering import AskConfig
    from rankrag.config.schema import load_config

    return load_config(AskConfig, file, changes or (), options=options, defaults=defaults)


def model_here(name: str, instead: str) -> str:
    """Return the name of a model that must run in this process; `ConfigError` for a server's, with what to do."""
    from rankrag.models.address import is_address

    if is_address(name):
        raise ConfigError(f"--model {name}: a server; {instead}")
    return name


def refuse_input(out: Path | None, **inputs: Path | None) -> None:
    """Raise `ConfigError` if `--out` is one of the files to read, by whatever name; `inputs` are named by option."""
    for option, path in inputs.items():
        if out and path and out.exists() and path.exists() and out.samefile(path):
            raise ConfigError(f"{out}: --out is the file of --{option} and would be overwritten; choose another one")


def is_debugging(arguments: Sequence[str]) -> bool:
    """Whether the user asked for traces."""
    return "--debug" in arguments


def shown(path: str) -> str:
    """Return a document's name for people: relative to the current folder if it is below it."""
    return path.removeprefix(f"{Path.cwd()}/")


def say(text: str) -> None:
    """Print a line to standard error, apart from the results."""
    print(text, file=sys.stderr, flush=True)


def say_state_use(model: LanguageModel) -> None:
    """Say how many passages were known from earlier questions, if any."""
    use = model.info.states
    if use and use.found:
        say(f"{use.found:,} of {use.wanted:,} passages were known and not read again ({use.found / use.wanted:.0%}).")


@contextmanager
def step_lines(seconds: float = 15.0, *, passing: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function that shows progress: it takes a text, the number done and the total (0 if unknown).

    A terminal gets one bar per text, with the time left; a file or a pipe gets a line from time to time. With
    `passing`, for many short steps, a new bar replaces the last one, and the first line comes only after `seconds`.
    Nothing is imported or drawn before the first step.
    """
    with ExitStack() as stack:
        drawn = cache(lambda: stack.enter_context(_drawn_steps(seconds, passing)))
        yield lambda text, done, total: drawn()(text, done, total)


@contextmanager
def _drawn_steps(seconds: float, passing: bool) -> Iterator[Callable[[str, int, int], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bars = Progress(*columns, console=console, disable=not console.is_terminal)
    tasks: dict[str, TaskID] = {}
    last_text, last_time = "", time.monotonic() if passing else 0.0

    def step(text: str, done: int, total: int) -> None:
        nonlocal last_text, last_time
        if console.is_terminal:
            if text not in tasks:
                while passing and tasks:
                    bars.remove_task(tasks.popitem()[1])
                tasks[text] = bars.add_task(text, total=total or None)
            bars.update(tasks[text], completed=done, total=total or None)
            return
        now = time.monotonic()
        if now - last_time >= seconds or (not passing and (text != last_text or done == total)):
            last_text, last_time = text, now
            say(f"{text}: {done} of {total}" if total else f"{text}: {done}")

    with bars:
        yield step
