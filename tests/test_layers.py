"""The layers of the library, checked file by file: a file imports only from its own layer or a lower one.

Imports inside functions and under `TYPE_CHECKING` count too.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "rankrag"
LAYERS = (
    {"types", "errors", "retired", "matching", "devices", "cores"},
    {"templates", "contract", "config"},
    {"encoding"},
    {"data"},
    {"documents"},
    {"retrieval"},
    {"models"},
    {"rerank", "generate", "citations"},
    {"pipeline", "opening"},
    {"blend"},
    {"training"},
    {"evaluation"},
    {"fitting"},
    {"parity", "export", "server", "integrations", "cluster", "__init__"},
    {"cli", "__main__"},
)
"""Files and folders of src/rankrag, the lowest layer first."""

Imports = dict[str, set[str]]
"""For each file the files it imports, both as paths below the root."""


def imports_below(root: Path) -> Imports:
    """Return what each file imports from the library."""
    files = {path.relative_to(root).as_posix() for path in root.rglob("*.py")}
    return {name: _imported(root / name, files) - {name} for name in sorted(files)}


def _imported(path: Path, files: set[str]) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {_file_of(alias.name, files) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert not node.level, f"{path}: relative import"
            found |= {_file_of(f"{node.module}.{alias.name}", files) for alias in node.names}
    return found - {""}


def _file_of(name: str, files: set[str]) -> str:
    """Return the file of a module, or of what is imported from it; empty for other libraries."""
    top, *parts = name.split(".")
    if top != "rankrag":
        return ""
    for count in range(len(parts), -1, -1):
        module = "/".join(parts[:count])
        for file in (f"{module}.py", f"{module}/__init__.py".lstrip("/")):
            if file in files:
                return file
    return ""


def height(file: str) -> int:
    """Return the number of a file's layer; an error if it has none."""
    part = file.split("/")[0].removesuffix(".py")
    (found,) = [number for number, layer in enumerate(LAYERS) if part in layer]
    return found


def upward(imports: Imports) -> Imports:
    """Return the files that import from a higher layer, with what they import from there."""
    found = {file: {other for other in others if height(other) > height(file)} for file, others in imports.items()}
    return {file: others for file, others in found.items() if others}


def in_cycles(imports: Imports) -> set[str]:
    """Return the files that import each other in a circle, or that need such files."""
    left = {file: set(others) for file, others in imports.items()}
    while free := [file for file, others in left.items() if not others & set(left)]:
        for file in free:
            del left[file]
    return set(left)


@pytest.fixture(scope="module")
def imports() -> Imports:
    return imports_below(ROOT)


def test_every_file_has_a_layer(imports):
    assert [height(file) for file in imports]


def test_no_file_imports_from_a_higher_layer(imports):
    assert upward(imports) == {}


def test_no_files_import_each_other_in_a_circle(imports):
    assert in_cycles(imports) == set()


PLANTED = {
    "at the top": "from rankrag.pipeline import RankRAG\n",
    "a module": "from rankrag import pipeline\n",
    "by its full name": "import rankrag.pipeline\n",
    "in a function": "def late():\n    from rankrag.pipeline import RankRAG\n    return RankRAG\n",
    "for types only": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from rankrag.pipeline import RankRAG\n",
}


@pytest.mark.parametrize("where", PLANTED)
def test_a_planted_upward_import_is_found(tmp_path, where):
    shutil.copytree(ROOT, tmp_path / "rankrag", ignore=shutil.ignore_patterns("__pycache__"))
    file = tmp_path / "rankrag" / "retrieval" / "fusion.py"
    file.write_text(file.read_text(encoding="utf-8") + PLANTED[where], encoding="utf-8")
    assert upward(imports_below(tmp_path / "rankrag"))["retrieval/fusion.py"] == {"pipeline.py"}


def test_a_planted_circle_is_found(tmp_path, imports):
    planted = imports | {"errors.py": {"types.py"}, "types.py": {"errors.py"}}
    assert {"errors.py", "types.py"} <= in_cycles(planted)


@pytest.mark.parametrize("module", ["rankrag", "rankrag.cli"])
def test_importing_loads_no_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
