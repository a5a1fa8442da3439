"""The shipped rankrag-mini over the shipped example documents, as `make demo` and the README use them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import rankrag
from rankrag.types import Answer
from tests.acceptance.conftest import ROOT
from tests.conftest import run_command

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example documents, indexed once with vectors."""
    folder = tmp_path_factory.mktemp("examples") / "rankrag.index"
    assert run_command("index", ROOT / "examples" / "corpus", "--out", folder) == 0
    return folder


def demo_questions() -> list[str]:
    return re.findall(r'^\t  "(.+)"', (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture(scope="module")
def streams(index: Path) -> list[list[str | Answer]]:
    """What is streamed for each question of the demo: pieces of text, then the answer."""
    rag = rankrag.load(index)
    return [list(rag.stream(question)) for question in demo_questions()]


@pytest.fixture(scope="module")
def answers(streams: list[list[str | Answer]]) -> list[Answer]:
    return [answer for *_, answer in streams if isinstance(answer, Answer)]


def test_the_demo_answers_two_questions_from_the_right_files_and_refuses_the_third(answers: list[Answer]) -> None:
    tagus, barnum, world_cup = answers
    assert "Tagus" in tagus.text
    assert "Barnum" in barnum.text
    assert world_cup.abstained
    for answer, name in ((tagus, "tagus"), (barnum, "brooklyn-bridge")):
        assert _first_source(answer).endswith(f"{name}.md")


def test_the_python_use_in_the_readme_runs(
    index: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(index.parent)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert len(code.strip().splitlines()) <= 5
    exec(compile(code, "README.md", "exec"), {})
    assert "Tagus" in capsys.readouterr().out


def test_streamed_pieces_are_the_answer(streams: list[list[str | Answer]]) -> None:
    for *pieces, answer in streams:
        assert isinstance(answer, Answer)
        assert pieces
        assert "".join(map(str, pieces)) == answer.text


def test_a_citation_leads_back_to_the_place_in_the_file(answers: list[Answer]) -> None:
    (passage, *_) = answers[0].cited
    assert passage.source is not None
    text = Path(passage.source.path).read_text(encoding="utf-8")
    assert text[passage.source.start : passage.source.end] == passage.text


def _first_source(answer: Answer) -> str:
    (passage, *_) = answer.cited
    assert passage.source is not None
    return passage.source.path
