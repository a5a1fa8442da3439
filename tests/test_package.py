"""An installed rankrag has the files that a checkout has."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(("project", "package"), [(".", "rankrag"), ("models/rankrag-mini", "rankrag_mini")])
def test_every_file_that_is_no_module_is_package_data(project: str, package: str) -> None:
    settings = tomllib.loads((ROOT / project / "pyproject.toml").read_text(encoding="utf-8"))
    folder = ROOT / project / "src" / package
    packed = {
        path for pattern in settings["tool"]["setuptools"]["package-data"][package] for path in folder.glob(pattern)
    }
    listed = subprocess.run(
        ["git", "ls-files", "-z", str(folder)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = [ROOT / name for name in listed.stdout.split("\0") if name and not name.endswith(".py")]
    assert files
    assert [str(file) for file in files if file not in packed] == []
