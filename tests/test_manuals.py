"""The questions about the manuals in `examples/manuals` have the answers that they list, and the others have none."""

from __future__ import annotations

import html
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

MANUALS = Path(__file__).parents[1] / "examples" / "manuals"
PAGES = {path.relative_to(MANUALS / "corpus").as_posix(): path for path in (MANUALS / "corpus").glob("*/*")}
QUESTIONS: list[dict[str, Any]] = [
    json.loads(line) for line in (MANUALS / "questions.jsonl").read_text(encoding="utf-8").splitlines()
]
ANSWERABLE = [row for row in QUESTIONS if row["answers"]]
UNANSWERABLE = [row for row in QUESTIONS if not row["answers"]]


def plain(text: str) -> str:
    """Return text in lower case with single spaces and without the marks that manuals put around code."""
    return " ".join(re.sub(r"[`“”]", "", text).lower().split())


def page_text(name: str) -> str:
    text = PAGES[name].read_text(encoding="utf-8")
    return plain(html.unescape(re.sub(r"<[^>]*>", "", text)) if name.endswith(".html") else text)


def sources(row: dict[str, Any]) -> list[str]:
    return row.get("sources") or [row["source"]]


def test_the_set_has_the_counts_that_its_readme_gives() -> None:
    assert len(QUESTIONS) == len({row["id"] for row in QUESTIONS}) == len({row["question"] for row in QUESTIONS}) == 80
    assert Counter(row["kind"] for row in UNANSWERABLE) == {"near": 10, "far": 10}
    kinds = Counter(row["kind"] for row in ANSWERABLE)
    assert kinds == {"fact": 33, "how": 8, "why": 11, "list": 8}


def test_every_page_is_asked_about() -> None:
    assert len(PAGES) == 50
    assert {name for row in ANSWERABLE for name in sources(row)} == set(PAGES)


def test_page_names_differ_without_their_folder() -> None:
    assert len({path.name for path in PAGES.values()}) == len(PAGES)


@pytest.mark.parametrize("row", ANSWERABLE, ids=lambda row: row["id"])
def test_a_listed_answer_occurs_in_every_page_that_is_named(row: dict[str, Any]) -> None:
    for name in sources(row):
        text = page_text(name)
        assert any(plain(answer) in text for answer in row["answers"]) or row["kind"] == "list"
        assert [item for item in row.get("items", []) if plain(item) not in text] == []


@pytest.mark.parametrize("row", [row for row in ANSWERABLE if row["kind"] == "list"], ids=lambda row: row["id"])
def test_a_list_names_its_items_and_one_answer_has_them_all(row: dict[str, Any]) -> None:
    assert len(row["items"]) >= 2
    assert any(all(item.lower() in answer.lower() for item in row["items"]) for answer in row["answers"])


def test_no_page_holds_what_the_unanswerable_questions_ask_for() -> None:
    corpus = "\n".join(page_text(name) for name in PAGES)
    assert all(row["absent"] for row in UNANSWERABLE)
    found = [(row["id"], text) for row in UNANSWERABLE for text in row["absent"] if plain(text) in corpus]
    assert found == []


def test_near_misses_name_a_page_of_their_subject() -> None:
    assert [row["id"] for row in UNANSWERABLE if row["kind"] == "near" and row["near"] not in PAGES] == []


def test_no_question_is_copied_from_a_page() -> None:
    corpus = "\n".join(page_text(name) for name in PAGES)
    assert [row["id"] for row in QUESTIONS if plain(row["question"]).rstrip("?") in corpus] == []
