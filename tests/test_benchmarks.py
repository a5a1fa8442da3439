"""Benchmarks are not run by the tests, but what they import must be there: a moved name is found here."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
FILES = sorted(FOLDER.glob("*.py"))


def defined(path: Path) -> set[str]:
    """Return the names at the top of a file, imported ones too."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def is_module(package: str, name: str) -> bool:
    """Tell whether a package has a module of this name."""
    try:
        return importlib.util.find_spec(f"{package}.{name}") is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_what_a_benchmark_imports_from_us_is_there(path: Path) -> None:
    own = {file.stem: file for file in FILES}
    missing = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        if node.module.partition(".")[0] == "rankrag":
            module = importlib.import_module(node.module)
            missing += [
                a.name for a in node.names if not hasattr(module, a.name) and not is_module(node.module, a.name)
            ]
        elif node.module in own:
            missing += [alias.name for alias in node.names if alias.name not in defined(own[node.module])]
    assert missing == []


def test_cases_of_an_earlier_run_stay_with_its_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    rerank = importlib.import_module("rerank")
    before = json.loads(rerank.DATA.read_text(encoding="utf-8"))
    case = before["rows"][0]["case"]
    again = [row for row in before["rows"] if row["case"] == case]
    found = rerank.merged(before, {**before, "rows": again, "machine": "another", "left_out": []})
    assert len(found["rows"]) == len(before["rows"])
    assert {run["machine"] for run in found["runs"].values()} == {before["machine"]}
    assert str(rerank.row_of(again[0]).case) not in found["runs"]
    whole = rerank.merged(found, before)
    assert (whole["rows"], whole["runs"]) == (before["rows"], {})


def test_there_are_benchmarks() -> None:
    assert {"ask", "rerank", "harness"} <= {file.stem for file in FILES}
