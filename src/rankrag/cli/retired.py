"""Commands and options that are gone, and what replaces each of them."""

from __future__ import annotations

from collections.abc import Sequence

from rankrag.errors import ConfigError

RETIRED = {
    "fit --head": "a middle layer ranks no better than P(True) until nearly all layers are computed; leave it out",
    "--score layer_head": "a middle layer ranks no more; --score true_vs_false takes its place",
}
"""By the words that name them: a command, a command with its option, or an option (with its value) of any command."""


def refuse_retired(arguments: Sequence[str]) -> None:
    """Raise `ConfigError` with the replacement if the command line names something that is gone."""
    words = [word for argument in arguments for word in argument.split("=", 1)]
    line = f" {' '.join(words)} "
    for name, instead in RETIRED.items():
        command, _, option = name.partition(" ") if not name.startswith("-") else ("", "", name)
        if (not command or words[:1] == [command]) and (not option or f" {option} " in line):
            raise ConfigError(f"{name}: {instead}")
