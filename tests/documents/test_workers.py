from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rankrag.documents.loading import Failed, Loaded, load_documents
from rankrag.documents.workers import ReadSettings

Write = Callable[[str, str | bytes], Path]


@pytest.fixture
def readers_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Give the reading processes a reader of `.txt` with this code."""

    def plant(code: str) -> None:
        (tmp_path / "sitecustomize.py").write_text(
            "import sys, time, os\nfrom rankrag.documents import readers\n"
            f"def planted(path, data, where):\n    {code}\n"
            "import types\nmodule = types.ModuleType('rankrag.documents.formats.planted')\nmodule.read = planted\n"
            "sys.modules['rankrag.documents.formats.planted'] = module\nreaders.READERS['.text'] = 'planted:read'\n",
            encoding="utf-8",
        )
        import os

        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))

    return plant


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("time.sleep(60)", "b.text: not read within 2 seconds; split it"),
        ("os._exit(3)", "b.text: its reader crashed; save the file anew"),
        ("raise KeyError('x')", "b.text: a broken or foreign .text file (KeyError: 'x')"),
    ],
)
def test_a_file_that_hangs_or_crashes_its_reader_costs_only_itself(
    file: Write, readers_of: Callable[[str], None], code: str, reason: str
):
    readers_of(code)
    files = [file("a.txt", "One."), file("b.text", "Two."), file("c.txt", "Three.")]
    first, second, third = load_documents(files, {}, ReadSettings(processes=1, seconds=2))
    assert isinstance(first, Loaded)
    assert isinstance(second, Failed)
    assert second.reason.startswith(reason)
    assert isinstance(third, Loaded)


@pytest.mark.slow
def test_processes_give_the_same_passages_in_the_same_order(file: Write):
    files = [file(f"{n}.md", f"# Weir {n}\n\n" + "The gate is shut at night. " * (50 * (n % 3))) for n in range(12)]
    assert list(load_documents(files, {}, ReadSettings(processes=2))) == list(load_documents(files, {}))
