from __future__ import annotations

import ast
from pathlib import Path

from rankrag.blend.parts import MAKERS

ROOT = Path(__file__).parents[2] / "src" / "rankrag"

NO_MAKERS = {
    "config/blend.py",  # settings are part of a part's name
    "config/schema.py",
    "errors.py",
    "contract.py",
    "encoding.py",
}
"""What the makers import and no example depends on."""


def imports(path: Path) -> set[str]:
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("rankrag."):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            modules |= {name.removeprefix("rankrag.").replace(".", "/") + ".py" for name in (node.module, *names)}
    return {name for name in modules if (ROOT / name).is_file()}


def test_a_part_depends_on_every_file_that_its_examples_come_from():
    start = {"blend/kinds.py", "blend/sources.py", "blend/contamination.py", "blend/weights.py"}
    found, todo = set(), set(start)
    while todo:
        found |= todo
        todo = {name for file in todo for name in imports(ROOT / file)} - found - NO_MAKERS
    assert found - {name for name in found if name.startswith(("blend/", "data/"))} - set(MAKERS) == set()


def test_a_part_depends_on_no_file_of_the_command_line():
    assert all((ROOT / name).is_file() for name in MAKERS)
    assert not any(name.startswith(("cli/", "evaluation/", "training/")) for name in MAKERS)
