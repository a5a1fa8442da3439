"""Size and shape of the library, for one tree or before and after: `python -m experiments.measure_house BASE TREE`.

Each argument is a checkout; what is measured is its `src/rankrag`. `--offenders` lists what breaks the limits of the
last tree, file by file.
"""

from __future__ import annotations

import argparse
import ast
import io
import tokenize
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

GOALS = {
    "root": 2200,
    "data": 2000,
    "documents": 1000,
    "retrieval": 1150,
    "models": 2150,
    "blend": 1500,
    "training": 2000,
    "fitting": 500,
    "evaluation": 2500,
    "ablation": 0,
    "export": 550,
    "cli": 1450,
}
"""Lines that each folder may have."""

AT_THE_ROOT = ("config", "parity")
"""Folders that count as files of the root."""

LATER = ("server/", "integrations/", "documents/formats/", "retrieval/postgres/", "retrieval/s3/")
"""Parts that came after the limit of all lines was set, and are on top of it."""

LINES_AT_MOST = 17_000
FUNCTION_P90 = 22
FUNCTION_AT_MOST = 60
POSITIONAL_AT_MOST = 6
FILE_AT_MOST = 300

COMMANDS = "cli"
"""Folder whose functions may share a name with what they run: a function there is named as its command."""

ADAPTERS = ("server/", "integrations/")
"""Folders whose names are given by other programs' protocols, so that they may be those of other parts."""


@dataclass(frozen=True, slots=True)
class Function:
    """A function or method: where it stands, its lines from `def` to the last, and whether its signature is typed."""

    place: str
    name: str
    lines: int
    typed: bool


@dataclass(frozen=True, slots=True)
class House:
    """What was measured of a tree; places read `file:line`."""

    files: dict[str, int]
    functions: tuple[Function, ...]
    documented: tuple[bool, ...]
    import_lines: int
    comments: int
    wide_calls: tuple[str, ...]
    twice: dict[str, tuple[str, ...]]

    @property
    def lines(self) -> int:
        """Lines of all files."""
        return sum(self.files.values())

    @property
    def lines_before(self) -> int:
        """Lines of all files but `LATER`."""
        return sum(lines for name, lines in self.files.items() if not name.startswith(LATER))

    def function_lines(self, share: float) -> int:
        """Return the length that this share of the functions does not exceed."""
        lengths = sorted(function.lines for function in self.functions)
        return lengths[min(len(lengths) - 1, int(share * len(lengths)))]

    def folder_lines(self) -> dict[str, int]:
        """Return the lines of each folder; files of the top folder are `root`."""
        found: dict[str, int] = defaultdict(int)
        for name, lines in self.files.items():
            folder = name.split("/")[0] if "/" in name else "root"
            later = next((part.rstrip("/") for part in LATER if name.startswith(part)), "")
            found[later or ("root" if folder in AT_THE_ROOT else folder)] += lines
        return found


def measure(root: Path) -> House:
    """Return the measures of a package, of which `root` is the folder."""
    texts = {path.relative_to(root).as_posix(): path.read_text("utf-8") for path in sorted(root.rglob("*.py"))}
    trees = {name: ast.parse(text) for name, text in texts.items()}
    classes = {node.name for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    return House(
        files={name: len(text.splitlines()) for name, text in texts.items()},
        functions=tuple(function for name, tree in trees.items() for function in _functions(name, tree)),
        documented=tuple(ast.get_docstring(node) is not None for tree in trees.values() for node in _public(tree)),
        import_lines=sum(_import_lines(tree) for tree in trees.values()),
        comments=sum(_comments(text) for text in texts.values()),
        wide_calls=tuple(place for name, tree in trees.items() for place in _wide_calls(name, tree, classes)),
        twice=_defined_twice(trees),
    )


def table(houses: Sequence[House]) -> list[str]:
    """Return a Markdown table with a column for each tree."""
    rows = [
        ("lines", [f"{house.lines:,}" for house in houses]),
        (f"of these not in {', '.join(LATER)}", [f"{house.lines_before:,}" for house in houses]),
        ("files", [str(len(house.files)) for house in houses]),
        (f"files above {FILE_AT_MOST} lines", [str(len(_long_files(house))) for house in houses]),
        ("function lines p50 / p90 / max", [_lengths(house) for house in houses]),
        ("typed functions", [_share(sum(f.typed for f in h.functions), len(h.functions)) for h in houses]),
        ("documented public names", [_share(sum(h.documented), len(h.documented)) for h in houses]),
        ("import lines", [_share(house.import_lines, house.lines) for house in houses]),
        ("comments", [_share(house.comments, house.lines, digits=1) for house in houses]),
        (f"calls with > {POSITIONAL_AT_MOST} positional arguments", [str(len(h.wide_calls)) for h in houses]),
        ("public names defined twice", [str(len(house.twice)) for house in houses]),
    ]
    folders = [house.folder_lines() for house in houses]
    for name in dict.fromkeys((*GOALS, *(name for found in folders for name in found))):
        goal = f" (at most {GOALS[name]:,})" if name in GOALS else ""
        rows.append((f"lines of {name}{goal}", [f"{found[name]:,}" if name in found else "–" for found in folders]))
    heads = ["", "before", "after"] if len(houses) == 2 else ["", *(f"tree {i + 1}" for i in range(len(houses)))]
    return [_row(heads), _row(["---"] * len(heads)), *(_row([name, *cells]) for name, cells in rows)]


def offenders(house: House) -> list[str]:
    """Return one line for each limit that is broken; the file comes first."""
    found = [f"{f.place}: {f.name} has {f.lines} lines" for f in house.functions if f.lines > FUNCTION_AT_MOST]
    found += [f"{place} is called with more than {POSITIONAL_AT_MOST}" for place in house.wide_calls]
    found += [f"{places[0]}: {name} is also in {', '.join(places[1:])}" for name, places in house.twice.items()]
    found += [f"{name}: {house.files[name]} lines" for name in _long_files(house)]
    for folder, lines in house.folder_lines().items():
        if lines > GOALS.get(folder, 0) and f"{folder}/" not in LATER:
            found.append(f"{folder}/: {lines:,} lines of at most {GOALS.get(folder, 0):,}")
    if house.lines_before > LINES_AT_MOST:
        found.append(f"src: {house.lines_before:,} lines of at most {LINES_AT_MOST:,}, without {', '.join(LATER)}")
    if house.function_lines(0.9) > FUNCTION_P90:
        found.append(f"src: the p90 of function lines is {house.function_lines(0.9)}, at most {FUNCTION_P90}")
    return sorted(found)


def _functions(file: str, tree: ast.Module) -> Iterator[Function]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno
            yield Function(f"{file}:{node.lineno}", node.name, node.end_lineno - node.lineno + 1, _is_typed(node))


def _is_typed(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    given = function.args
    named = [*given.posonlyargs, *given.args, *given.kwonlyargs, *filter(None, (given.vararg, given.kwarg))]
    typed = all(arg.annotation for arg in named if arg.arg not in ("self", "cls"))
    return typed and (function.returns is not None or function.name == "__init__")


def _public(tree: ast.Module) -> Iterator[ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield a module, its public classes and functions, and their public methods."""
    yield tree
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
            yield node
            inner = node.body if isinstance(node, ast.ClassDef) else []
            for method in inner:
                if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef) and not method.name.startswith("_"):
                    yield method


def _import_lines(tree: ast.Module) -> int:
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    return sum((node.end_lineno or node.lineno) - node.lineno + 1 for node in nodes)


def _comments(text: str) -> int:
    return sum(token.type == tokenize.COMMENT for token in tokenize.generate_tokens(io.StringIO(text).readline))


def _wide_calls(file: str, tree: ast.Module, classes: set[str]) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and len(node.args) > POSITIONAL_AT_MOST:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in classes:
                yield f"{file}:{node.lineno}: {called}"


def _defined_twice(trees: dict[str, ast.Module]) -> dict[str, tuple[str, ...]]:
    """Return the public classes and functions of modules whose names stand in several files."""
    places: dict[str, list[str]] = defaultdict(list)
    for file, tree in trees.items():
        for node in tree.body:
            is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            if file.startswith(ADAPTERS) or (is_function and file.startswith(f"{COMMANDS}/")):
                continue
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.name[0] != "_":
                places[node.name].append(f"{file}:{node.lineno}")
    return {name: tuple(found) for name, found in sorted(places.items()) if len(found) > 1}


def _long_files(house: House) -> list[str]:
    return [name for name, lines in house.files.items() if lines > FILE_AT_MOST]


def _lengths(house: House) -> str:
    longest = max(function.lines for function in house.functions)
    return f"{house.function_lines(0.5)} / {house.function_lines(0.9)} / {longest}"


def _share(part: int, whole: int, digits: int = 0) -> str:
    return f"{part / whole:.{digits}%}".replace("%", " %")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table, or what breaks the limits."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("trees", nargs="+", type=Path, help="checkouts, the newest last")
    parser.add_argument("--offenders", action="store_true", help="list what breaks the limits of the last one")
    wanted = parser.parse_args()
    houses = [measure(tree / "src" / "rankrag") for tree in wanted.trees]
    print("\n".join(offenders(houses[-1]) if wanted.offenders else table(houses)))


if __name__ == "__main__":
    main()
