"""Read passages before anyone asks about them: each question then costs its own tokens only (`state_cache`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from rankrag.data.progress import Progress, quiet
from rankrag.errors import ConfigError
from rankrag.models import LanguageModel
from rankrag.models.transformers import TransformersModel
from rankrag.templates import ranking_prompt
from rankrag.types import Passage, Question

_AT_ONCE = 16  # passages: their states are on disk before the next are read


def make_states(
    model: LanguageModel,
    passages: Sequence[Passage],
    gib: float | None = None,
    say: Callable[[str], None] = lambda _: None,
    progress: Progress = quiet,
) -> int:
    """Put the states of passages into the folder of the model's `states`; return how many were missing and are there.

    The first few are read to learn what all will cost, which `say` then gets in one line. What is there is left alone,
    so that work that was killed goes on. `gib` is what the folder may hold from now on, else its bound stays.
    `ConfigError` if the model keeps no states in a folder, or all of them would take more than the folder may hold.
    """
    if not isinstance(model, TransformersModel):
        raise ConfigError("states are made by one model in this process: give a model's name and one --device")
    if reason := model.why_no_states():
        raise ConfigError(f"states cannot be made: {reason}")
    folder = model.states.folder if model.states else None
    if gib is not None and folder:
        folder.allow(int(gib * 2**30))
    if model.states is None or folder is None or not folder.takes_states:
        raise ConfigError("states cannot be made: this index is no folder that can be written")
    nothing = Question("", "")  # what follows the passage does not matter
    missing = model.without_state(model.encode([ranking_prompt(model.contract.format, nothing, p) for p in passages]))
    begun = time.monotonic()
    for start in range(0, len(missing), _AT_ONCE):
        batch = missing[start : start + _AT_ONCE]
        model.choice_logprobs(batch, model.contract.labels)
        model.states.write()
        if not folder.takes_states:
            raise ConfigError("the states cannot be written; the line above says why")
        if not start:
            share = sum(map(len, batch)) / sum(map(len, missing))
            taken, minutes = model.states.held_bytes / share / 2**30, (time.monotonic() - begun) / share / 60
            cost = f"the states of {len(missing):,} passages take about {taken:.1f} GiB"
            if taken * 2**30 > folder.limit:
                raise ConfigError(
                    f"{cost}, and {folder.folder} may hold {folder.limit / 2**30:.1f}; allow more with --states-gib, "
                    "or leave --states out: the states of the passages that are asked for most are kept by themselves"
                )
            say(f"In {folder.folder} {cost} and {minutes:.0f} minutes.")
        progress("Passages read", start + len(batch), len(missing))
    model.states.release()
    if left := len(model.without_state(missing)):
        room = f"{folder.folder} may hold {folder.limit / 2**30:.1f} GiB, and a GiB of the disk stays free"
        say(f"{left:,} states found no room: {room}.")
    return len(missing) - left
