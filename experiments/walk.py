"""How far a reader walks to follow one question through the library: `python -m experiments.walk [INDEX] [QUESTION]`.

The script traces the calls of `RankRAG.ask` and counts how often they change the module. A module is what one reads as
one part: a file at the root of the package (`rerank`), or a folder (`models`). The rule:

- A function counts at its first call only: a reader reads it once. So generators that resume count once too.
- A call changes the module if the nearest caller in the library is in another module. Returning to a caller is no
  change: the reader has not closed that page. The same two modules in the same direction are one change, since the
  second time the reader knows the way.
- A change goes back up if the called module is in a higher layer than the caller's, or is already open: it waits
  for the call to return.
- Constructors, operators and properties do not count: to read a value is no step of the question's way.
- `devices` and `cores` do not count: they set the machine up and get nothing of the question.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import rankrag

ROOT = Path(rankrag.__file__).parent

NOT_ON_THE_WAY = {"devices", "cores"}
"""Modules that set the machine up, of which a question knows nothing."""


@dataclass(frozen=True)
class Change:
    """A first call from one module into another, and the modules that were open at that moment."""

    caller: str
    called: str
    function: str
    open: tuple[str, ...]


def changes_of(work: Callable[[], Any]) -> list[Change]:
    """Return the changes of module while `work` runs, in order."""
    seen: set[CodeType] = set()
    found: dict[tuple[str, str], Change] = {}

    def note(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event != "call" or code in seen or (module := module_of(code)) is None:
            return
        seen.add(code)
        above = open_modules(frame)
        if above and above[-1] != module and not is_only_reading(frame):
            found.setdefault((above[-1], module), Change(above[-1], module, code.co_name, tuple(above)))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return list(found.values())


def module_of(code: CodeType) -> str | None:
    """Return the module of a function; None outside the library and for what is not on a question's way."""
    path = Path(code.co_filename)
    module = path.relative_to(ROOT).parts[0].removesuffix(".py") if path.is_relative_to(ROOT) else None
    return None if module in NOT_ON_THE_WAY else module


def open_modules(frame: FrameType) -> list[str]:
    """Return the modules of the library's functions that called this frame, the outermost first."""
    found: list[str] = []
    above = frame.f_back
    while above is not None:
        if (module := module_of(above.f_code)) is not None:
            found.append(module)
        above = above.f_back
    return found[::-1]


def is_only_reading(frame: FrameType) -> bool:
    """Whether a frame makes or reads a value: a constructor, an operator or a property."""
    code = frame.f_code
    if code.co_name.startswith("__"):
        return True
    owner = frame.f_locals.get("self")
    attribute = getattr(type(owner), code.co_name, None)
    return isinstance(attribute, property) and attribute.fget is not None and attribute.fget.__code__ is code


def back_up(changes: list[Change], height: Callable[[str], int]) -> list[Change]:
    """Return the changes that go back up; `height` is the number of a module's layer."""
    return [c for c in changes if height(c.called) > height(c.caller) or c.called in c.open]


def main() -> None:
    """Print the walk of a question."""
    index, question = (sys.argv[1:] + ["rankrag.index", "What is the longest river?"][len(sys.argv[1:]) :])[:2]
    rag = rankrag.load(index)
    rag.ask("What is opened lazily is opened by this question?")
    changes = changes_of(lambda: rag.ask(question))
    for number, change in enumerate(changes, start=1):
        again = "  (is open: back up)" if change.called in change.open else ""
        print(f"{number:2} {change.caller} → {change.called}.{change.function}{again}")


if __name__ == "__main__":
    main()
