"""Every command, option, target and script that the written pages show is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from rankrag.cli import COMMANDS, command_line

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "EXPERIMENTS.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += [*sorted((ROOT / "examples").rglob("README.md")), *sorted((ROOT / "models").glob("*/README.md"))]
GENERATED = {"results.md", "comparison.md", "ablations.md"}
"""Pages that name the command by which they were made, at the commit that made them."""
WRITTEN = [page for page in PAGES if page.name not in GENERATED]


def options_by_command() -> dict[str, set[str]]:
    found = {}
    for name in COMMANDS:
        (command,) = typer.main.get_command(command_line(name)).commands.values()
        found[name] = {option for given in command.params for option in [*given.opts, *given.secondary_opts]}
    return found


def shown(page: Path) -> list[str]:
    """Return what a page shows as code, a line each, without what it says is removed."""
    text = re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8").partition("### Removed")[0])
    text = "\n".join(line for line in text.splitlines() if not (line.startswith("|") and "Removed" in line))
    blocks = re.findall(r"```[a-z]*\n(.*?)```", text, flags=re.DOTALL)
    inline = re.findall(r"`([^`\n]+(?:\n[^`\n]+)?)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = [line for block in blocks for line in block.splitlines()]
    return [*(line.split(" # ")[0].strip() for line in lines), *(" ".join(code.split()) for code in inline)]


def calls(page: Path) -> list[tuple[str, list[str]]]:
    """Return the `rankrag COMMAND …` of a page: the command and its options."""
    found = []
    for code in shown(page):
        for call in re.finditer(r"(?:(?:^|\s)rankrag |^(?=[a-z]+ --))([a-z]+)\b((?:(?!&&|\|).)*)", code):
            quoted = re.sub(r"\"[^\"]*\"|'[^']*'", "TEXT", call[2])
            found.append((call[1], re.findall(r"(?<!\S)(--[a-z][\w-]*|-[a-z])(?=[\s=]|$)", quoted)))
    return found


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_and_option_is_there(page: Path) -> None:
    known = options_by_command()
    missing = [f"rankrag {name}" for name, _ in calls(page) if name not in known]
    for name, options in calls(page):
        there = {*known.get(name, set()), "--help", "--debug"}
        missing += [f"rankrag {name} {option}" for option in options if name in known and option not in there]
    assert missing == []


def test_commands_are_found_in_the_pages() -> None:
    assert {name for page in WRITTEN for name, _ in calls(page)} >= {
        "ask",
        "index",
        "fit",
        "evaluate",
        "train",
        "blend",
    }


def test_the_readme_names_every_command() -> None:
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("| command | purpose |")[2].partition("\n\n")[0]
    first_column = " ".join(re.findall(r"^\|([^|]*)\|", table, flags=re.MULTILINE))
    named = set(re.findall(r"`(?:rankrag )?([a-z]+)`", first_column))
    assert sorted(set(options_by_command()) - named) == []


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_make_target_script_and_configuration_is_there(page: Path) -> None:
    code = "\n".join(shown(page))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    assert sorted(set(re.findall(r"(?:^|\s)make ([a-z]+)", code)) - targets) == []
    modules = re.findall(r"python -m ((?:experiments|benchmarks)\.[\w.]+)", code)
    places = [ROOT / name.replace(".", "/") for name in modules]
    assert [place for place in places if not place.is_dir() and not place.with_suffix(".py").is_file()] == []
    paths = re.findall(
        r"(?<![\w/.])((?:benchmarks|configs|experiments|examples|src|tests|docs|models)/[\w./-]*[\w/])", code
    )
    assert sorted({path for path in paths if not (ROOT / path).exists()}) == []


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_option_of_a_script_is_there(page: Path) -> None:
    shared = (ROOT / "benchmarks" / "harness.py").read_text(encoding="utf-8")
    missing = []
    for code in shown(page):
        for script, rest in re.findall(r"(?<!tests/)((?:benchmarks|experiments)/[\w/]+\.py)((?:(?!&&|\|).)*)", code):
            text = shared + (ROOT / script).read_text(encoding="utf-8")
            missing += [
                f"{script} {option}" for option in re.findall(r"(?<!\S)--[a-z][\w-]*", rest) if option not in text
            ]
    assert missing == []
