"""The picture of a run: loss of each kind, learning rate and dev figures over its steps."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PLOT_FILE = "curves.png"

Series = Mapping[str, Sequence[tuple[float, float]]]
"""Lines by name, each as points (step, value)."""

_SHARES = {"dev_auc", "dev_hit@1", "dev_exact"}


def panels(history: Sequence[Mapping[str, float]]) -> dict[str, Series]:
    """Return the lines of each panel of the picture from what a run logged; a panel without points is left out."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for entry in history:
        for name, value in entry.items():
            lines.setdefault(name, []).append((entry["step"], value))
    titles: dict[str, Callable[[str], bool]] = {
        "loss of a target token": lambda name: name == "loss" or name.startswith("loss_"),
        "the same on dev examples": lambda name: name.startswith("dev_loss_"),
        "dev figures": lambda name: name in _SHARES,
        "learning rate": lambda name: name == "learning_rate",
    }
    found = {title: {name: lines[name] for name in lines if belongs(name)} for title, belongs in titles.items()}
    return {title: series for title, series in found.items() if series}


def draw(history: Sequence[Mapping[str, float]], path: Path) -> bool:
    """Draw the picture whole; return False, having drawn nothing, without points or where matplotlib is missing."""
    shown = panels(history)
    if not shown or importlib.util.find_spec("matplotlib") is None:
        return False
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 2.6 * len(shown)), layout="constrained")
    axes = figure.subplots(len(shown), sharex=True, squeeze=False)[:, 0]
    for axis, (title, series) in zip(axes, shown.items(), strict=True):
        for name, points in series.items():
            steps, values = zip(*points, strict=True)
            axis.plot(steps, values, marker="." if len(points) < 40 else None, linewidth=1, label=name)
        axis.set_title(title, fontsize=10, loc="left")
        axis.grid(alpha=0.3)
        if len(series) > 1:
            axis.legend(fontsize=8, loc="upper right")
    axes[-1].set_xlabel("step")
    partial = path.with_name(f"{path.name}.partial")
    figure.savefig(partial, format="png", dpi=110)
    os.replace(partial, path)
    return True
