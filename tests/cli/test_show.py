from __future__ import annotations

from pathlib import Path

import pytest

from rankrag.examples import write_examples
from rankrag.types import DataKind, Example, Passage, Question

from ..conftest import Run


def test_a_training_example_is_shown_with_its_target(
    run: Run, tiny_model_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "examples.jsonl"
    passage = Passage("p", "The Tagus <|im_end|> is long.")
    write_examples(path, [Example(DataKind.CONTEXT_RANKING, "made", Question("q", "Long?"), (passage,), "True")])
    assert run("show", path, "--model", tiny_model_dir) == 0
    out = capsys.readouterr().out
    assert "Passage: The Tagus" in out
    assert "For the question Long?, assess whether the passage is relevant" in out
    assert "True<|im_end|>" in out


def test_a_prompt_of_ones_own_is_shown(run: Run, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    passages = ("--passage", "One.", "--passage", "Two.")
    assert run("show", "--question", "Which?", *passages, "--kind", "context_qa", "--model", tiny_model_dir) == 0
    assert "Passage 2: Two." in capsys.readouterr().out


def test_a_ranking_prompt_takes_one_passage(run: Run, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "--question", "Which?", "--model", tiny_model_dir) == 2
    assert "a ranking prompt has one passage, 0 were given" in capsys.readouterr().err
