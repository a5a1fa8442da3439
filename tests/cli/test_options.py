"""Options that are made from the fields of settings."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from rankrag.cli.options import ConfigFile, Given, with_options
from rankrag.config.answering import AskConfig
from rankrag.config.schema import load_config
from rankrag.errors import ConfigError


@pytest.fixture
def asked() -> list[AskConfig]:
    return []


@pytest.fixture
def command(asked: list[AskConfig]) -> typer.Typer:
    """A command with a file of settings, and with options for three of its keys."""

    @with_options(AskConfig, "n", "history_query", "dtype", dtype="float32")
    def command(*, config: ConfigFile = None, given: Given) -> None:
        asked.append(load_config(AskConfig, config, options=given))

    app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(command)
    return app


def settings(asked: list[AskConfig]) -> tuple[int, str | None, str]:
    return asked[-1].n, asked[-1].history_query, asked[-1].dtype


def test_an_option_goes_before_the_file_and_the_file_before_the_schema(
    command: typer.Typer, asked: list[AskConfig], tmp_path: Path
) -> None:
    file = tmp_path / "ask.yaml"
    file.write_text("n: 7\nhistory_query: all\ndtype: bfloat16\n", encoding="utf-8")
    command([], standalone_mode=False)
    assert settings(asked) == (20, None, "float32")
    command(["--config", str(file), "--history-query", "both"], standalone_mode=False)
    assert settings(asked) == (7, "both", "float32")  # a default of the command's own is always given


def test_its_help_is_the_fields(command: typer.Typer, capsys: pytest.CaptureFixture[str]) -> None:
    command(["--help"], standalone_mode=False)
    said = " ".join(capsys.readouterr().out.split())
    assert "Passages to retrieve and rerank (paper: 100 at 8B, 30 at 70B). [default: 20]" in said
    assert "auto, float32, bfloat16 or float16. [default: float32]" in said


def test_a_value_that_the_field_does_not_take_is_refused_as_in_a_file(command: typer.Typer) -> None:
    with pytest.raises(ConfigError, match=r"the options: n: must be greater than or equal to 1 \(found: 0\)"):
        command(["-n", "0"], standalone_mode=False)
