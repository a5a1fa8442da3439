"""Options that several commands share, most of them made from settings, and what they print while they work."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, Optional

import typer
from pydantic.fields import FieldInfo

from rankrag.config.schema import Schema
from rankrag.errors import ConfigError
from rankrag.models import LanguageModel
from rankrag.models.address import is_address
from rankrag.retrieval.places import checked_place

DEFAULT_INDEX = "rankrag.index"
INDEX_HELP = "Folder of the index, postgresql://HOST/DATABASE/NAME or s3://BUCKET/NAME (docs/object-storage.md)."


def index_option(*names: str, text: str) -> Any:
    """Return an option for the place of an index; an address that holds a password is refused before it is repeated."""
    return typer.Option(*names, parser=checked_place, metavar="INDEX", help=text)


Index = Annotated[str, index_option("--index", "-i", text=INDEX_HELP)]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML file with more settings; docs/configuration.md.")
]
Set = Annotated[list[str] | None, typer.Option("--set", help="key=value, over the file's (repeatable).")]

Given = dict[str, Any]
"""Settings that were given as options, by their keys."""

Command = Callable[..., None]
_SHORT = {"model": "-m", "retriever": "-r", "n": "-n", "k": "-k", "out": "-o"}


def with_options(schema: type[Schema], *keys: str, **defaults: str) -> Callable[[Command], Command]:
    """Give a command an option for each of these keys of its settings; what the user gives arrives as `given`.

    An option's name, kind and help are those of the schema's field. With a default of the command's own it is always
    given; else the settings file or the schema decides.
    """

    def decorate(command: Command) -> Command:
        own = [p for p in signature(command, eval_str=True).parameters.values() if p.name != "given"]
        shown = own + [_option(key, schema.model_fields[key], defaults.get(key)) for key in keys]

        @wraps(command)
        def run(*arguments: Any, **options: Any) -> None:
            found = {key: options.pop(key, defaults.get(key)) for key in keys}
            command(*arguments, **options, given={key: value for key, value in found.items() if value is not None})

        run.__signature__ = Signature(shown)  # type: ignore[attr-defined]  # typer reads it
        run.__annotations__ = {p.name: p.annotation for p in shown}
        return run

    return decorate


def _option(key: str, field: FieldInfo, default: str | None) -> Parameter:
    names = [f"--{key.replace('_', '-')}", *([_SHORT[key]] if key in _SHORT else [])]
    usual = f" [default: {field.default}]" if default is None and field.default is not None else ""
    made = typer.Option(*names, help=f"{field.description}{usual}")
    annotation: Any = Annotated[Optional[field.annotation], made]  # noqa: UP045 - a value, not a type that is written
    return Parameter(key, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def model_here(name: str, instead: str) -> str:
    """Return the name of a model that must run in this process; `ConfigError` for a server's, with what to do."""
    if is_address(name):
        raise ConfigError(f"--model {name}: a server; {instead}")
    return name


def refuse_input(out: Path | None, **inputs: Path | None) -> None:
    """Raise `ConfigError` if `--out` is one of the files to read, by whatever name; `inputs` are named by option."""
    for option, path in inputs.items():
        if out and path and out.exists() and path.exists() and out.samefile(path):
            raise ConfigError(f"{out}: --out is the file of --{option} and would be overwritten; choose another one")


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
