"""The picture of a run: loss of each kind, learning rate and dev figures over its steps."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from rankrag.data.files import whole

PLOT_FILE = "curves.png"

_PANELS = {
    "loss of a target token": r"loss(_.*)?",
    "the same on dev examples": r"dev_loss_.*",
    "dev figures": r"dev_(auc|hit@1|exact)",
    "learning rate": r"learning_rate",
}
"""Names of the entries of a log that are drawn together, by the title of their panel."""


def panels(history: Sequence[Mapping[str, float]]) -> dict[str, list[str]]:
    """Return the names of the lines in each panel of the picture; a panel without lines is left out."""
    names = dict.fromkeys(name for entry in history for name in entry)
    found = {title: [n for n in names if re.fullmatch(pattern, n)] for title, pattern in _PANELS.items()}
    return {title: lines for title, lines in found.items() if lines}


def draw(history: Sequence[Mapping[str, float]], path: Path) -> bool:
    """Draw the picture whole; return False, having drawn nothing, without points or where matplotlib is missing."""
    shown = panels(history)
    if not shown or importlib.util.find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 2.6 * len(shown)), layout="constrained")
    axes = figure.subplots(len(shown), sharex=True, squeeze=False)[:, 0]
    for axis, (title, lines) in zip(axes, shown.items(), strict=True):
        for name in lines:
            points = [(entry["step"], entry[name]) for entry in history if name in entry]
            axis.plot(*zip(*points, strict=True), marker=".", linewidth=1, label=name)
        axis.set_title(title, fontsize=10, loc="left")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8, loc="upper right")
    axes[-1].set_xlabel("step")
    with whole(path) as partial:
        figure.savefig(partial, format="png", dpi=110)
    return True
