"""The page in real Chromium, driven as a person would."""

from __future__ import annotations

import json
import shutil
import subprocess

import pytest

from tests.acceptance.conftest import ROOT

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Debian's package chromium"),
]


def test_the_page_answers_shows_uploads_and_exports(served, tmp_path):
    python = ROOT / ".cache" / "clients-new" / "bin" / "python"
    script = ROOT / "tests" / "acceptance" / "scripts" / "page.py"
    done = subprocess.run(
        [python, script, served.url, tmp_path], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["question"] == "Who led elephants over the Brooklyn Bridge?"
    assert found["answer"].startswith("P. T. Barnum")
    assert found["passages"] > found["used"] >= 1
    assert found["serious"] == []
    assert found["problems"] == []
    assert found["reads of a list at rest"] <= 3
    for check in ("highlighted", "closed by the keyboard", "pdf at its passage", "uploaded", "exported"):
        assert found[check] is True, check
    assert found["no sideways scrolling on a phone"] is True
    shutil.copy(tmp_path / "serve.png", ROOT / "docs" / "serve.png")
    shutil.copy(tmp_path / "phone.png", ROOT / "docs" / "serve-phone.png")
