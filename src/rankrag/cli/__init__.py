"""The command line: the only place that prints.

Answers and data go to standard output, progress and errors to standard error. Exit codes: 0 for success, 1 for a bug,
2 for an error that the user can fix, 130 for an interruption.
"""

from __future__ import annotations

import ast
import atexit
import gc
import logging
import os
import sys
import traceback
from importlib import import_module
from pathlib import Path

import typer

from rankrag.errors import RankragError
from rankrag.retired import refuse_retired

COMMANDS = {
    "index": "documents",
    "ask": "ask",
    "chat": "ask",
    "retrieve": "runs",
    "rerank": "runs",
    "show": "show",
    "parity": "parity",
    "export": "export",
    "blend": "recipe",
    "train": "recipe",
    "fit": "recipe",
    "push": "recipe",
    "models": "models",
    "evaluate": "evaluation",
    "report": "evaluation",
    "serve": "serve",
    "mcp": "serve",
}
"""The modules of the commands, each with a function of the command's name."""


def command_line(asked: str = "") -> typer.Typer:
    """Return the command line with the command that is asked for, or with the help of all commands.

    A command's module imports all that the command needs, so no other module is imported: the help reads docstrings.
    """
    app = typer.Typer(
        name="rankrag",
        help="One language model that ranks passages and answers from them, with citations.",
        epilog="Start with: rankrag index DOCUMENTS, then: rankrag ask QUESTION. Any command takes --debug.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(lambda: None)  # without one, a single command has no name
    if asked in COMMANDS:
        app.command()(getattr(import_module(f"rankrag.cli.{COMMANDS[asked]}"), asked))
        return app
    for name, module in COMMANDS.items():
        tree = ast.parse(Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8"))
        (command,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name)
        app.command(name, help=ast.get_docstring(command))(lambda: None)
    return app


def main() -> None:
    """Run the command that the arguments name, and exit."""
    gc.set_threshold(500_000, 10, 10)  # imports make a million objects that stay; checking them took a second
    atexit.register(gc.freeze)  # and another second at exit
    debug = "--debug" in sys.argv
    shown = logging.StreamHandler(sys.stderr)
    shown.setLevel(logging.INFO if debug else logging.ERROR)  # bm25s sets its own logger to DEBUG
    logging.basicConfig(level=shown.level, handlers=[shown])
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TQDM_DISABLE", "1")  # bars of libraries; ours are of rich
    if not debug:
        os.environ.setdefault("PYTHONWARNINGS", "ignore")
        import warnings

        warnings.simplefilter("ignore")
    try:
        arguments = [a for a in sys.argv[1:] if a != "--debug"]
        refuse_retired(arguments)
        command_line(next(iter(arguments), ""))(args=arguments, prog_name="rankrag")
    except RankragError as error:
        if debug:
            traceback.print_exc()
        print(f"rankrag: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            if debug:
                traceback.print_exc()
            path = error.filename2 or error.filename  # the second is the target of a failed move
            print(f"rankrag: {path}: {error.strerror}; check the name and its permissions", file=sys.stderr)
            sys.exit(2)
        if debug:
            raise
        print(f"rankrag: a bug in rankrag: {type(error).__name__}: {error}", file=sys.stderr)
        print("rankrag: the same command with --debug shows where; please report it", file=sys.stderr)
        sys.exit(1)
