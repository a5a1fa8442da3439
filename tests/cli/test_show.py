from __future__ import annotations

from pathlib import Path

import pytest

from rankrag.data.examples import write_examples
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


def test_a_server_has_the_prompts_of_the_directory_that_its_address_names(
    run: Run, tiny_model_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = f"http://127.0.0.1:9/v1#{tiny_model_dir}"
    assert run("show", "--question", "Which?", "--passage", "One.", "--model", model) == 0
    assert "Passage: One." in capsys.readouterr().out


def test_a_model_without_a_tokenizer_is_one_line(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    for name, remedy in (("nowhere", "check the name"), ("empty", "must hold a causal language model")):
        assert run("show", "--question", "Which?", "--passage", "One.", "--model", tmp_path / name) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"rankrag: {tmp_path / name}: its tokenizer cannot be loaded")
        assert remedy in line
