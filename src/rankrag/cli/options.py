"""Options that several commands share, and how they print."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rankrag.errors import ConfigError

if TYPE_CHECKING:
    from rankrag.models import LanguageModel

DEFAULT_INDEX = Path("rankrag.index")

Index = Annotated[Path, typer.Option("--index", "-i", help="Folder of the index.")]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        help="rankrag-mini, a model directory, a Hugging Face id, or http://HOST:PORT/v1?model=NAME#DIRECTORY; "
        "timeout=, retries=, concurrency= and kind= may stand beside model=.",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …; several share the work: cuda:0,cuda:1")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16, float16, or int8 for weights in eight bits.")]
StateCacheName = Annotated[
    str,
    typer.Option(
        "--state-cache", help="Where passages stay known from question to question: memory, off, or a folder."
    ),
]
StateForm = Annotated[
    Literal["exact", "float16", "int8"] | None,
    typer.Option("--state-form", help="How they are kept; by default exact in memory, float16 in a folder."),
]
RetrieverName = Annotated[
    Literal["bm25", "dense", "hybrid"], typer.Option("--retriever", "-r", help="The first stage.")
]
Data = Annotated[Path | None, typer.Option(envvar="RANKRAG_DATA", help="Folder of the data sets; docs/data.md.")]
EncoderDir = Annotated[
    Path | None,
    typer.Option(
        "--encoder",
        help="sentence-transformers directory, or, from a hub, dragon-plus, dragon-multiturn, dpr-nq, "
        "contriever-msmarco or medcpt; by default all-MiniLM-L6-v2.",
    ),
]
N = Annotated[int, typer.Option("--n", "-n", min=1, help="Passages to retrieve and rerank.")]
K = Annotated[
    int | None, typer.Option("--k", "-k", min=1, help="Passages to answer from; by default as many as suit the model.")
]
NoRerank = Annotated[bool, typer.Option("--no-rerank", help="Keep the retriever's order.")]


def _bound(text: str) -> float | str:
    try:
        return "fitted" if text == "fitted" else float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither a number nor 'fitted'") from None


Settled = Annotated[
    float,  # or "fitted", which typer's parsers cannot say
    typer.Option(
        "--settled-from",
        parser=_bound,
        metavar="LOG-ODDS|fitted",
        help="Stop judging once the k-th best passage reaches this, or what was `fitted` to lose next to nothing.",
    ),
]
HistoryQueryName = Annotated[
    Literal["last", "all", "speakers", "both"] | None,
    typer.Option(
        "--history-query",
        help="Search a conversation by its last turn, by all, by all with speakers, by last and all; else as fitted.",
    ),
]
Score = Annotated[
    Literal["true", "true_vs_false"] | None,
    typer.Option(help="P(True) over all words, or against False; by default as the model's contract says."),
]
RunFolder = Annotated[Path, typer.Option("--out", "-o", help="Run folder; what it holds is not done again.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="key=value, over the file's; may be given often.")]


def model_here(name: str, instead: str) -> str:
    """Return the name of a model that must run in this process; `ConfigError` for a server's, with what to do."""
    from rankrag.models.address import is_address

    if is_address(name):
        raise ConfigError(f"--model {name}: a server; {instead}")
    return name


def refuse_input(out: Path | None, **inputs: Path | None) -> None:
    """Raise `ConfigError` where `--out` is a file that is read, whatever it is called; `inputs` are named by option."""
    for option, path in inputs.items():
        if out and path and out.exists() and path.exists() and out.samefile(path):
            raise ConfigError(f"{out}: --out is the file of --{option}; choose another one, this would be overwritten")


def is_debugging(arguments: Sequence[str]) -> bool:
    """Whether the user asked for traces."""
    return "--debug" in arguments


def shown(path: str) -> str:
    """Return a document's name as people read it: from the current folder where it lies below it."""
    return path.removeprefix(f"{Path.cwd()}/")


def say(text: str) -> None:
    """Print a line for the person who waits, apart from the results."""
    print(text, file=sys.stderr, flush=True)


def say_state_use(model: LanguageModel) -> None:
    """Say how many passages were known from earlier questions, where any were."""
    use = model.info.states
    if use and use.found:
        say(f"{use.found:,} of {use.wanted:,} passages were known and not read again ({use.found / use.wanted:.0%}).")


@contextmanager
def progress_bar(text: str, total: int, *, unit: str = "") -> Iterator[Callable[[int], None]]:
    """Show a bar with the time left; what is yielded takes the number that is done. Quiet where nobody looks."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal or not total) as progress:
        task = progress.add_task(text, total=total)
        yield lambda done: progress.update(task, completed=done)


@contextmanager
def step_lines(seconds: float = 15.0, *, passing: bool = False) -> Iterator[Callable[[str, int, int], None]]:
    """Say what long work is at: what is yielded takes a text, what is done and the total, 0 where it is not known.

    A terminal gets a bar for each text, with the time left; a file or a pipe gets a line now and then. Steps that are
    `passing` are many, and most of them short: a bar goes when the next one comes, and a line comes after `seconds`.
    """
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
