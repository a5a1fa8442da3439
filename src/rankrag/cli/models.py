"""`rankrag models`: which models of ours are here, what they cost, and removing them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from rankrag import cores, opening
from rankrag.cli import options
from rankrag.cli.options import say
from rankrag.data.files import cache_dir
from rankrag.errors import ConfigError
from rankrag.generate import answer_many
from rankrag.models import auto
from rankrag.models.base_file import add_file
from rankrag.models.family import FAMILY, base_of, is_trained
from rankrag.models.prepared import is_prepared, needed_disk, remove_model, resolve_model, used_disk
from rankrag.rerank import judge
from rankrag.types import Passage, Question


def models(
    *,
    prepare: Annotated[str | None, typer.Option(help="Download and prepare this model now.")] = None,
    remove: Annotated[str | None, typer.Option(help="Delete what the cache holds of this model.")] = None,
    add: Annotated[Path | None, typer.Option(help="Use this GGUF file, which you have already, as a base.")] = None,
) -> None:
    """List rankrag's models: what is here, disk, memory, and seconds a question takes on this machine.

    A model that is here is measured once.
    """
    if unknown := [name for name in (prepare, remove) if name is not None and name not in FAMILY]:
        raise ConfigError(f"{unknown[0]}: not one of rankrag's models; known are {', '.join(FAMILY)}")
    if add is not None:
        base = add_file(add)
        say(f"{add} is {base.model}, the base {base.name}; it is used from now on.")
    if remove is not None:
        say(f"{remove}: {remove_model(remove) / 1e6:,.0f} MB deleted.")
    if prepare is not None:
        with options.step_lines() as step:
            resolve_model(prepare, say, step)
    _print_table()


def _print_table() -> None:
    print(f"{'model':14} {'base':28} {'adapter':8} {'disk':>16} {'memory':>9} {'a question here':>16}")
    for name in FAMILY:
        here = is_prepared(name)
        found = _measured(name) if here else auto.expected_seconds(name)
        disk = f"{used_disk(name) / 1e9:.1f} GB" if here else f"{needed_disk(name) / 1e9:.1f} GB to come"
        seconds = f"{'' if here else 'about '}{found:.1f} s"
        adapter = "yes" if is_trained(name) else "none yet"
        memory = f"{auto.memory_here(name) / 2**30:.1f} GiB"
        print(f"{name:14} {base_of(name).model:28} {adapter:8} {disk:>16} {memory:>9} {seconds:>16}")
    print(f"in {cache_dir()}; --model auto takes {auto.choose()}")


def _measured(name: str) -> float:
    """Return the seconds of a question, measured at the first call at which no other program runs."""
    if (kept := auto.measured_seconds(name)) is not None:
        return kept
    say(f"Measuring {name} (once) …")
    busy = cores.others_running()
    found = seconds_of(name)
    if busy or cores.others_running():
        say(f"Other programs were running, so {name} will be measured again.")
    else:
        auto.keep_seconds(name, found)
    return found


def seconds_of(name: str) -> float:
    """Return the seconds of a question as it is asked by default: `auto.JUDGED` passages judged, three read.

    A passage has 110 words.
    """
    model = opening.open_model(name)
    text = "The ferry over the river leaves at noon and takes people, bicycles and letters to the other side. " * 6
    passages = [Passage(str(number), f"Timetable {number}. {text}") for number in range(auto.JUDGED)]
    question = Question("q", "When does the ferry leave, and what does it take to the other side?")
    judge(model, [(question, passages[0])])  # the first pass of a process takes longer
    started = time.perf_counter()
    judge(model, [(question, passage) for passage in passages])
    answer_many(model, [(question, passages[:3])])
    return time.perf_counter() - started
