"""What a run says while it goes on: where its bar is after each step, and a line for each entry of its log."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from transformers import TrainerCallback

Report = Callable[[int, int], None]
Say = Callable[[str], None]


class StepReport(TrainerCallback):  # type: ignore[misc]
    """Tells `report` after each step how many are done of how many, and `say` what the log says.

    The first step gets a line too, so that a run into a file shows that it works before its log has an entry.
    `tokens` are those of each step, padding not counted.
    """

    def __init__(self, tokens: Sequence[int], report: Report, say: Say) -> None:
        self.tokens, self.report, self.say = tokens, report, say
        self._began, self._last = (0.0, 0), (0.0, 0)

    def on_train_begin(self, _args: Any, state: Any, _control: Any, **_: Any) -> None:  # noqa: D102
        self._began = self._last = (time.monotonic(), state.global_step)

    def on_step_end(self, args: Any, state: Any, _control: Any, **_: Any) -> None:  # noqa: D102
        self.report(state.global_step, state.max_steps)
        if state.is_world_process_zero and state.global_step == self._began[1] + 1 and args.logging_steps > 1:
            self.say(self._line(state.global_step, {}))

    def on_log(  # noqa: D102
        self, _args: Any, state: Any, _control: Any, logs: Mapping[str, float] | None = None, **_: Any
    ) -> None:
        if state.is_world_process_zero and logs and ("loss" in logs or any(n.startswith("dev_") for n in logs)):
            self.say(self._line(state.global_step, logs))

    def _line(self, step: int, logs: Mapping[str, float]) -> str:
        now, total = time.monotonic(), len(self.tokens)
        parts = [f"step {step:,} of {total:,}"]
        if step > self._last[1]:
            speed = sum(self.tokens[self._last[1] : step]) / max(1e-6, now - self._last[0])
            # the mean of the whole run: a single entry of the log may hold a compilation or a checkpoint
            mean = sum(self.tokens[self._began[1] : step]) / max(1e-6, now - self._began[0])
            parts += [f"{speed:,.0f} tokens/s", f"{duration(sum(self.tokens[step:]) / max(1e-6, mean))} left"]
            self._last = (now, step)
        shown = (name for name in logs if name.startswith(("loss", "dev_")))
        return ", ".join([*parts, *(f"{name} {float(logs[name]):.3f}" for name in shown)])


def duration(seconds: float) -> str:
    """Return a time as people say it: 40 s, 12 min, 2 h 5 min."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
