"""The layers of the house, read off the imports. A file imports only from its own layer or one below."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "rankrag"
LAYERS = [
    {"types", "errors"},
    {"templates", "matching", "jsonl", "config", "config_files", "contract"}
    | {"examples", "encoding", "file_hash", "runs", "tables", "journal"},
    {"documents", "retrieval", "models"},
    {"rerank", "generate", "citations", "blend", "training", "parity", "parity_paths", "export", "fewer_passes"},
    {"pipeline"},
    {"evaluation", "opening"},
    {"ablation"},
    {"cli"},
    {"__main__", "__init__"},
]
HEIGHT = {part: height for height, layer in enumerate(LAYERS) for part in layer}


def parts():
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).parts[0].removesuffix(".py")
        yield path, name


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"rankrag.{a.name}" for a in node.names} if node.module == "rankrag" else {node.module}
    return {name.split(".")[1] for name in found if name.startswith("rankrag.")} & set(HEIGHT)


@pytest.mark.parametrize(("path", "name"), list(parts()), ids=lambda v: v if isinstance(v, str) else v.stem)
def test_a_file_imports_only_from_its_layer_or_below(path, name):
    too_high = {other for other in imported(path) if HEIGHT[other] > HEIGHT[name]}
    assert not too_high


def test_every_part_has_a_layer():
    assert {name for _, name in parts()} <= set(HEIGHT)


@pytest.mark.parametrize("part", ["blend", "training"])
def test_data_and_training_do_not_see_the_pipeline(part):
    assert not any("pipeline" in imported(path) for path in (ROOT / part).glob("*.py"))


def test_no_parts_import_each_other_in_a_circle():
    edges: dict[str, set[str]] = {}
    for path, name in parts():
        if name != "__init__":
            edges.setdefault(name, set()).update(imported(path) - {name})
    while free := [name for name, needs in edges.items() if not needs & set(edges)]:
        for name in free:
            del edges[name]
    assert not edges


@pytest.mark.parametrize("module", ["rankrag", "rankrag.cli"])
def test_importing_loads_no_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
